# Copyright (c) sskd_mm authors. All rights reserved.
"""sskd_mm in a project of mmdet that has its own data set class, its own
backbone and its own tree of configs, trained with mmdet's own tool."""
import json
import os
import os.path as osp
import subprocess
import sys
from importlib.util import find_spec

import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from sskd_mm.models import build_model


def test_own_project(own_project):
    added = (own_project / 'configs/digits/distilled.py').read_text()
    assert len(added.strip().split('\n')) <= 10
    mmdet = osp.dirname(find_spec('mmdet').origin)
    result = subprocess.run(
        [
            sys.executable,
            osp.join(mmdet, '.mim/tools/train.py'),
            'configs/digits/distilled.py'
        ],
        cwd=own_project,
        capture_output=True,
        text=True,
        env={
            **os.environ, 'OMP_NUM_THREADS': '1',
            'PYTHONPATH': os.pathsep.join(
                [str(own_project), os.environ.get('PYTHONPATH', '')])
        })
    assert result.returncode == 0, result.stdout + result.stderr

    work_dir = own_project / 'work_dirs/distilled'
    phases = json.loads((work_dir / 'result.json').read_text())['phases']
    assert [phase['name'] for phase in phases] == [
        'mimic/stage1', 'mimic/stage2', 'mimic/stage3', 'mimic/stage4',
        'mimic/neck', 'head'
    ]
    student = build_model(
        Config.fromfile(own_project / 'configs/digits/small.py'))
    before = torch.cat([p.flatten() for p in student.parameters()])
    load_checkpoint(
        student, str(work_dir / 'epoch_6.pth'), 'cpu', strict=True)
    after = torch.cat([p.flatten() for p in student.parameters()])
    assert not torch.equal(before, after)
