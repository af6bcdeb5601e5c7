# Copyright (c) sskd_mm authors. All rights reserved.
"""Two CPU processes against one with the same global batch."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tool_process import ToolProcess

from sskd_mm.compat import load_checkpoint_file

ROOT = Path(__file__).parents[2]


def _config(distill_cfg, folder, batch_size, **options):
    cfg = distill_cfg(folder)
    cfg.train_dataloader.batch_size = batch_size
    # 10 images: the last batch is uneven.
    cfg.train_dataloader.dataset.indices = 10
    cfg.model.student.backbone.norm_eval = True
    cfg.train_cfg.evaluate_teacher = False
    cfg.merge_from_dict(options)
    path = folder / 'config.py'
    cfg.dump(path)
    return str(path)


def _train(config, processes, *args):
    if processes > 1:
        args = (*args, '--launcher', 'pytorch')
    return ToolProcess(
        ROOT / 'tools/train.py', config, *args, processes=processes).finish()


def _weights(folder, name):
    return load_checkpoint_file(str(folder / name))['state_dict']


def _assert_close(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        torch.testing.assert_close(
            value, theirs[key], rtol=1e-3, atol=1e-5, msg=key)


MIMIC = {'train_cfg.head.max_epochs': 0}


@pytest.fixture(scope='module')
def one(distill_cfg, tmp_path_factory):
    folder = tmp_path_factory.mktemp('one')
    _train(_config(distill_cfg, folder, 4, **MIMIC), 1)
    return folder


@pytest.fixture(scope='module')
def two(distill_cfg, tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    _train(_config(distill_cfg, folder, 2, **MIMIC), 2)
    return folder


def test_two_processes_equal_one(one, two):
    for epoch in (1, 5):
        _assert_close(
            _weights(two, f'epoch_{epoch}.pth'),
            _weights(one, f'epoch_{epoch}.pth'))


def test_resume_on_another_number_of_processes(one, two, distill_cfg,
                                               tmp_path):
    config = _config(distill_cfg, tmp_path, 4, **MIMIC)
    output = _train(config, 1, '--resume', str(two / 'epoch_3.pth'))
    assert 'Phase 4 of 5: mimic/layer4' in output
    assert 'Phase 3' not in output
    _assert_close(_weights(tmp_path, 'epoch_5.pth'), _weights(
        one, 'epoch_5.pth'))


def test_head_phase_and_validation(two, distill_cfg, tmp_path):
    hook = dict(type='BootstrapHook')
    config = _config(
        distill_cfg, tmp_path, 2, **{'default_hooks.bootstrap': hook})
    output = _train(config, 2, '--resume', str(two / 'epoch_5.pth'))
    assert 'Phase 6 of 6: head' in output
    student = json.loads((tmp_path / 'result.json').read_text())['student']
    with np.load(tmp_path / 'bootstrap.npz') as resampled:
        scores = dict(zip(resampled['names'], resampled['scores'][:, 0]))
    assert scores['coco/bbox_mAP'] == pytest.approx(
        student['coco/bbox_mAP'], abs=5.001e-4)
    before, after = _weights(two, 'epoch_5.pth'), _weights(
        tmp_path, 'epoch_6.pth')
    for key, value in before.items():
        head = key.startswith(('rpn_head', 'roi_head'))
        assert torch.equal(value, after[key]) != head, key
