# Copyright (c) sskd_mm authors. All rights reserved.
# Sourced by quickstart.sh and run_tests.sh: leaves in $PYTHON a Python that
# has torch, one stack of OpenMMLab and sskd_mm. A Python that has torch
# already is used as it is, with what it lacks installed into it; otherwise
# an environment is made in .venv.

# Lies in the environment while pip changes it: modules that are half written
# look as if they were installed.
MARKER=.venv/installing

say() { printf '\033[1m== %s\033[0m\n' "$*"; }

has() { "$PYTHON" -c "
import sys
from importlib.util import find_spec
sys.exit(not all(map(find_spec, sys.argv[1:])))" "$@" 2>/dev/null; }

site_packages() { "$PYTHON" -c 'import site; print(site.getsitepackages()[0])'; }

# Prints what pip has to say only if it fails.
install() {
    local output status=0
    if [ "$PYTHON" = "$PWD/.venv/bin/python" ]; then touch $MARKER; fi
    output=$("$PYTHON" -m pip install -q --disable-pip-version-check \
        --no-compile "$@" 2>&1) || status=$?
    if [ $status != 0 ]; then
        printf '%s\n' "$output" >&2
        return $status
    fi
    rm -f $MARKER
    # On all cores, as pip does not. Some packages hold templates, which are no
    # Python.
    "$PYTHON" -m compileall -q -j 0 "$(site_packages)" >/dev/null || true
}

install_torch() {
    local torch=2.14.1 torchvision=0.29.1
    # The CUDA build is several GB: without a GPU take the CPU build, where
    # an index offers one (on macOS the plain one is that).
    if ! command -v nvidia-smi >/dev/null && [ "$(uname)" = Linux ] &&
        install --retries 0 --timeout 20 \
            --extra-index-url https://download.pytorch.org/whl/cpu \
            "torch==$torch+cpu" "torchvision==$torchvision+cpu" 2>/dev/null
    then
        return
    fi
    install "torch==$torch" "torchvision==$torchvision"
}

PYTHON=${PYTHON:-$(command -v python3 || command -v python)}
if ! has torch || [ "$PYTHON" = "$PWD/.venv/bin/python" ]; then
    if [ -e $MARKER ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1
    then
        say "Making an environment in .venv (seconds)"
        "$PYTHON" -m venv --clear .venv
    fi
    PYTHON=$PWD/.venv/bin/python
fi
if ! has torch torchvision; then
    say "Installing torch (1 to 5 minutes)"
    install_torch
fi
EXTRAS=${EXTRAS:-}
if ! has mmengine mmcv mmdet mmpretrain; then
    EXTRAS=onedl${EXTRAS:+,$EXTRAS}
fi
if [ -n "$EXTRAS" ] || ! has sskd_mm_cli sskd_mm rich sklearn pycocotools matplotlib; then
    say "Installing sskd_mm${EXTRAS:+ with $EXTRAS} (1 to 3 minutes)"
    install -e ".${EXTRAS:+[$EXTRAS]}"
fi
