#!/usr/bin/env bash
# Copyright (c) sskd_mm authors. All rights reserved.
# Makes the environment and runs the tests, on the stack that is installed;
# where this script made the environment itself, on both stacks.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTRAS=dev
. tools/setup_env.sh

other=
if [ "$PYTHON" = "$PWD/.venv/bin/python" ]; then
    # The other stack, which shares its import names with the first: a second
    # environment that finds everything else in the first one's. It is made
    # while the tests run on the first.
    other=$PWD/.venv-openmmlab
    (
        first=$(site_packages)
        [ -x "$other/bin/python" ] || "$PYTHON" -m venv "$other"
        PYTHON=$other/bin/python
        paths=$(site_packages)/first.pth
        if [ ! -f "$paths" ]; then
            install --no-deps mmengine==0.10.7 mmcv-lite==2.1.0 \
                mmdet==3.3.0 mmpretrain==1.2.0
            printf '%s\n' "$first" "$PWD" >"$paths"
        fi
    ) &
    making=$!
fi

# Two processes of one thread each: threads of several would fight for cores.
export OMP_NUM_THREADS=1
say "Tests, on $("$PYTHON" -c 'import importlib.metadata as m
names = {d.metadata["Name"] for d in m.distributions()}
print("the onedl packages" if "onedl-mmengine" in names else "the original packages of OpenMMLab")')"
"$PYTHON" -m pytest -n 2 --dist worksteal "$@"

if [ -n "$other" ]; then
    wait "$making"
    PYTHON=$other/bin/python
    say "Tests, on the original packages of OpenMMLab"
    # Not again what is computed without them, nor tools that reach these
    # packages only by way of what the other tests run.
    once=(tests/test_losses tests/test_evaluation tests/test_analysis
        tests/test_datasets/test_digits_detection.py tests/test_docs.py
        tests/test_figures.py tests/test_metafiles.py tests/test_notebook.py
        tests/test_packaging.py
        tests/test_models/test_backbones
        tests/test_distillers/test_disk_teacher_cache.py
        tests/test_distillers/test_joint_detectors.py tests/test_matrix.py
        tests/test_engine/test_resume.py tests/test_engine/test_feeds.py
        tests/test_engine/test_teacher_cache.py
        tests/test_engine/test_joint_distillation.py
        tests/test_engine/test_compile.py tests/test_engine/test_precision.py
        tests/test_engine/test_mimic_watch_hook.py)
    for tool in analysis_tools export_onnx face_eval insightface_to_mmpretrain \
        make_config make_config_styles make_face_lists model_converters \
        quickstart study_tool; do
        once+=("tests/test_tools/test_$tool.py")
    done
    "$PYTHON" -m pytest -n 2 --dist worksteal "${once[@]/#/--ignore=}" "$@"
fi
