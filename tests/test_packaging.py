# Copyright (c) sskd_mm authors. All rights reserved.
import json
import os
import shutil
import subprocess
import sys
import tarfile

# Neither the package nor its .mim may be those of the sources.
CONFIG = '''
_base_ = 'sskd_mm::sskd/faster_rcnn_r18_digits.py'
import sskd_mm
assert sskd_mm.__file__.startswith({site!r})
model = dict(teacher=dict(checkpoint={checkpoint!r}))
'''


def _call(*command, **kwargs):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sdist_and_wheel(root, digits, teacher_checkpoint, tmp_path):
    """They hold what the repository does, and a wheel is enough to distil."""
    files = {
        name
        for name in _call('git', 'ls-files', cwd=root).splitlines()
        if not name.startswith('.')
    }
    source = tmp_path / 'source'
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, source / name)
    build = 'from setuptools import build_meta; build_meta.build_sdist("..")'
    _call(sys.executable, '-c', build, cwd=source)
    sdist, = tmp_path.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        packed = {name.partition('/')[2] for name in archive.getnames()}
    assert files <= packed, sorted(files - packed)

    # This builds the wheel, of what is in the sdist.
    site = tmp_path / 'site'
    _call(sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index',
          '--no-build-isolation', '--no-compile', '--target', site, sdist)
    mim = site / 'sskd_mm/.mim'
    installed = {
        str(path.relative_to(mim if mim in path.parents else site))
        for package in ('sskd_mm_cli', 'sskd_mm')
        for path in (site / package).rglob('*') if path.is_file()
    }
    assert installed == {
        name
        for name in files
        if name.split('/')[0] in ('sskd_mm_cli', 'sskd_mm', 'configs',
                                  'studies', 'tools', 'dataset-index.yml',
                                  'model-index.yml')
    }
    # MMEngine and MIM take the first module for the package.
    top_level, = site.glob('*.dist-info/top_level.txt')
    assert top_level.read_text().split() == ['sskd_mm', 'sskd_mm_cli']

    config = tmp_path / 'mine.py'
    config.write_text(
        CONFIG.format(site=str(site), checkpoint=teacher_checkpoint))
    plan = _call(
        site / 'bin/sskd',
        'plan',
        config,
        '--json',
        cwd=digits,
        env={
            **os.environ, 'PYTHONPATH': str(site)
        })
    assert [phase['name'] for phase in json.loads(plan)['phases']
            ] == ['mimic/neck', 'head', 'finetune']
