# Copyright (c) sskd_mm authors. All rights reserved.
"""Backbone family x schedule x precision x launcher: all phases run.

By default a part of the matrix runs, each family, schedule and precision in
it. All of it, which writes the page in docs/:

python -m pytest tests/test_matrix.py --matrix
"""
import copy
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.dist import is_main_process
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.compat import load_checkpoint_file, setup_cpu_distributed
from sskd_mm.stages import SCHEDULES as ALL_SCHEDULES

PAGE = Path(__file__).parent.parent / 'docs/matrix.md'
# A student's backbone, what widens it to a teacher's, and the width of the
# student's output.
FAMILIES = {
    'ResNet': (dict(depth=18, base_channels=4, stem_channels=4),
               dict(depth=34, base_channels=8, stem_channels=8), 32),
    'ResNeXt': (dict(depth=50, groups=4, width_per_group=2),
                dict(width_per_group=4), 2048),
    'RegNet': (dict(arch='regnetx_400mf'), dict(arch='regnetx_800mf'), 384),
    'MobileNetV2': (dict(widen_factor=0.1), dict(widen_factor=0.25), 1280),
    'MobileNetV3': (dict(arch='small'), dict(), 576),
    'ShuffleNetV2': (dict(widen_factor=0.5), dict(widen_factor=1.0), 1024),
    'VGG': (dict(depth=11, norm_cfg=dict(type='BN')), dict(depth=13), 512),
    'EfficientNet': (dict(arch='b0'), dict(), 1280),
    'ConvNeXt': (dict(arch='atto'), dict(arch='femto'), 320),
    'SwinTransformer': (dict(
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1] * 4),
        img_size=64,
        window_size=2),
                        dict(
                            arch=dict(
                                embed_dims=16,
                                depths=[1, 1, 1, 1],
                                num_heads=[1] * 4)), 64),
    'VisionTransformer': (dict(
        arch=dict(
            embed_dims=8, num_layers=4, num_heads=1, feedforward_channels=8),
        img_size=64,
        patch_size=16),
                          dict(
                              arch=dict(
                                  embed_dims=16,
                                  num_layers=8,
                                  num_heads=1,
                                  feedforward_channels=8)), 8),
    'CSPDarkNet': (dict(depth=53), dict(), 1024),
    'HRNet': (dict(arch='w18'), dict(), 144),
    'timm': (dict(model_name='resnet10t', features_only=True),
             dict(model_name='resnet14t'), 512),
}
PRECISIONS = ('float32', 'bfloat16')
#: The schedule last is what cumulative ends with.
SCHEDULES = [name for name in ALL_SCHEDULES if name != 'last']
LAUNCHER = 'pytorch' if 'LOCAL_RANK' in os.environ else 'none'
CELLS = list(itertools.product(FAMILIES, SCHEDULES, PRECISIONS))
#: The cells that have passed, in this process.
passed = []


def _part():
    """A cell of each family, over all schedules and precisions."""
    for number, family in enumerate(FAMILIES):
        yield (family, SCHEDULES[number % len(SCHEDULES)],
               PRECISIONS[number % 2])


def pytest_generate_tests(metafunc):
    if 'family' in metafunc.fixturenames:
        whole = metafunc.config.getoption('--matrix')
        cells = CELLS if whole else list(_part())
        if LAUNCHER == 'pytorch' and not whole:
            cells = [c for c in cells if c[0] in ('ResNet', 'MobileNetV2')]
        metafunc.parametrize('family, schedule, precision', cells)


def _config(classifier_cfg, work_dir, family, widen):
    backbone, wider, channels = FAMILIES[family]
    backbone = dict(
        type='TIMMBackbone' if family == 'timm' else family,
        **copy.deepcopy(backbone))
    if widen:
        backbone.update(copy.deepcopy(wider))
    # These output embeddings.
    pooled = family in ('VisionTransformer', 'ConvNeXt')
    neck = None if pooled else 'GlobalAveragePooling'
    return classifier_cfg(work_dir, backbone, channels, neck, size=64)


def test_cell(family, schedule, precision, classifier_cfg, tmp_path,
              request):
    if family == 'timm':
        pytest.importorskip('timm')
    cfg = _config(classifier_cfg, tmp_path, family, widen=False)
    teacher = _config(classifier_cfg, tmp_path, family, widen=True).model
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=weights), path)
    plain = copy.deepcopy(cfg.model)
    cfg.model = dict(
        type='StageByStageDistiller',
        student=cfg.model,
        teacher=dict(cfg=teacher.to_dict(), checkpoint=path))
    cfg.train_cfg = dict(
        type='StageByStageTrainLoop',
        schedule=schedule,
        mimic=dict(max_epochs=1),
        head=dict(max_epochs=1),
        evaluate_teacher=False)
    cfg.train_dataloader.batch_size = 4
    cfg.train_dataloader.dataset.indices = 4
    cfg.val_dataloader.dataset.indices = 4
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=1e-4)
    cfg.default_hooks.checkpoint.update(interval=100, max_keep_ckpts=1)
    if precision == 'bfloat16':
        request.getfixturevalue('amp_on_cpu')
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=precision)
    cfg.launcher = LAUNCHER
    cfg.env_cfg = dict(dist_cfg=dict(backend='gloo'))
    setup_cpu_distributed(cfg)

    Runner.from_cfg(cfg).train()

    if is_main_process():
        result = json.loads((tmp_path / 'result.json').read_text())
        assert result['phases'][-1]['name'] == 'head'
        for phase in result['phases']:
            assert math.isfinite(phase['loss_last'])
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            MODELS.build(plain).load_state_dict(
                load_checkpoint_file(
                    (tmp_path / 'last_checkpoint').read_text())['state_dict'])
        passed.append((family, schedule, precision))


@pytest.mark.slow
def test_in_two_processes(request, tmp_path):
    """The same under DistributedDataParallel."""
    if LAUNCHER == 'pytorch':
        pytest.skip('is one of the two')
    whole = request.config.getoption('--matrix')
    result = subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc_per_node=2', '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
        f'{__file__}::test_cell', f'{__file__}::test_page',
        *(['--matrix'] if whole else [])
    ],
                            capture_output=True,
                            text=True,
                            cwd=tmp_path,
                            env={
                                **os.environ, 'OMP_NUM_THREADS': '1',
                                # Below it each makes a folder of its own.
                                'PYTEST_DEBUG_TEMPROOT': str(tmp_path),
                                'MATRIX_PASSED': f'{tmp_path}/passed.json'
                            })
    assert result.returncode == 0, result.stdout + result.stderr
    cells = json.loads((tmp_path / 'passed.json').read_text())
    assert cells
    passed.extend((*cell, 'pytorch') for cell in cells)


def test_page(request):
    """The page shows what has passed, or names what it would show."""
    if LAUNCHER == 'pytorch':
        if is_main_process():
            Path(os.environ['MATRIX_PASSED']).write_text(json.dumps(passed))
    elif request.config.getoption('--matrix'):
        PAGE.write_text(_page())
    else:
        page = PAGE.read_text()
        rows = [line for line in page.splitlines() if line.startswith('| ')]
        assert len(rows) == 2 + len(FAMILIES)
        for name in (*FAMILIES, *SCHEDULES):
            assert name in page, 'write it again: --matrix'


def _page():
    lines = [
        '# What runs', '',
        'Each cell is a full distillation, all phases, between two networks '
        'of the family', 'on real images of 64 x 64. The engine asserts in '
        'every run that frozen tensors stay', 'bit-equal; the checkpoint must '
        'load strictly in the plain student. A cell lists what',
        'passed: single precision (32) and bfloat16 (16), in one process and '
        'in two under', 'DistributedDataParallel (x2). All on a CPU. This '
        'page is written by', '', '```bash',
        'python -m pytest tests/test_matrix.py --matrix', '```', '',
        f'| backbone | {" | ".join(SCHEDULES)} |',
        '| --- |' + ' --- |' * len(SCHEDULES)
    ]
    for family in FAMILIES:
        cells = [
            ', '.join(
                precision[-2:] + {
                    (): '',
                    ('pytorch', ): ' x2'
                }[launcher] for precision in PRECISIONS
                for launcher in ((), ('pytorch', ))
                if (family, schedule, precision, *launcher) in passed) or '-'
            for schedule in SCHEDULES
        ]
        lines.append(f'| {family} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'
