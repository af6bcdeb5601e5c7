# Copyright (c) sskd_mm authors. All rights reserved.
"""setup_env.sh with a Python that only pretends, so that nothing is
installed."""
import os
import shutil
import subprocess

import pytest

#: Has the modules that a file beside it lists. Its pip writes there, and first
#: does what the file `pip_does` says.
PYTHON = '''#!/bin/bash
installed=$(dirname "$0")/installed
case "$*" in
    *find_spec*)
        shift 2
        for name in "$@"; do grep -qsx "$name" "$installed" || exit 1; done ;;
    *getsitepackages*) echo .venv/lib ;;
    *' venv '*)
        rm -rf .venv
        mkdir -p .venv/bin
        cp "$0" .venv/bin/python
        echo made >>log ;;
    *'pip --version') ;;
    *'pip install'*)
        echo 'a warning of pip'
        echo 'another one' >&2
        . ./pip_does
        printf '%s\\n' torch torchvision mmengine mmcv mmdet mmpretrain \\
            sskd_mm sskd_mm_cli rich sklearn pycocotools matplotlib \\
            >>"$installed" ;;
esac
'''


@pytest.fixture
def setup_env(root, tmp_path):
    shutil.copy(root / 'tools/setup_env.sh', tmp_path)
    python = tmp_path / 'python3'
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(pip_does=''):
        (tmp_path / 'pip_does').write_text(pip_does)
        result = subprocess.run(
            ['bash', '-c', 'set -euo pipefail; . ./setup_env.sh'],
            cwd=tmp_path,
            env={
                **os.environ, 'PYTHON': str(python)
            },
            capture_output=True,
            text=True)
        return result.returncode, result.stdout + result.stderr

    return run


def test_pip_is_quiet(setup_env):
    code, output = setup_env()
    assert code == 0
    assert 'Installing torch' in output
    assert 'warning of pip' not in output and 'another one' not in output


def test_what_pip_says_is_shown_where_it_fails(setup_env):
    code, output = setup_env('exit 3')
    assert code == 3
    assert 'a warning of pip' in output and 'another one' in output


@pytest.mark.parametrize('how', ['exit 1', 'kill -9 $PPID $$'])
def test_an_installation_that_was_stopped_is_made_anew(setup_env, tmp_path,
                                                       how):
    """Modules that pip had begun to write look as if they were there."""
    code, _ = setup_env('echo torch >>$installed; ' + how)
    assert code != 0
    code, _ = setup_env()
    assert code == 0
    assert (tmp_path / 'log').read_text() == 'made\nmade\n'
    code, output = setup_env('exit 4')
    assert (code, output) == (0, ''), 'nothing is left to do'
