# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import sskd_mm  # noqa: F401
from sskd_mm.datasets import make_digits_detection

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope='session')
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
    """A project folder with 24 + 8 images of the embedded set in it."""
    folder = tmp_path_factory.mktemp('project')
    make_digits_detection(
        folder / 'data' / 'digits', num_train=24, num_val=8)
    return folder


@pytest.fixture(scope='session')
def teacher_checkpoint(tmp_path_factory):
    """Fixed random weights for the teacher of the digits configs."""
    cfg = Config.fromfile(ROOT / 'configs/baselines/faster_rcnn_r50_digits.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict()), path)
    return str(path)


@pytest.fixture
def in_mmdet():
    """Build with mmdet as the default scope, as its configs do."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def distill_cfg(digits, teacher_checkpoint):
    """Returns a function that makes a short config of all phases."""
    base = Config.fromfile(ROOT / 'configs/sskd/faster_rcnn_r18_digits.py')

    def make(work_dir, **options):
        cfg = copy.deepcopy(base)
        cfg.model.teacher.cfg = str(
            ROOT / 'configs/baselines/faster_rcnn_r50_digits.py')
        cfg.model.teacher.checkpoint = teacher_checkpoint
        # The engine's defaults, whatever recipe is shipped.
        cfg.model.mimic_loss = dict(type='L2MimicLoss')
        cfg.model.inherit = []
        cfg.work_dir = str(work_dir)
        data = f'{digits}/data/digits/'
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            cfg[key].dataset.data_root = data
        for key in ('val_evaluator', 'test_evaluator'):
            cfg[key].ann_file = data + 'annotations/instances_val.json'
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        cfg.default_hooks.checkpoint.max_keep_ckpts = -1
        cfg.merge_from_dict(options)
        return cfg

    return make


def pytest_configure(config):
    # Two test processes on two cores would otherwise fight for them.
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 2)))
