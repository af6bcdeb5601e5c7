# Copyright (c) sskd_mm authors. All rights reserved.
from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.optim import ReduceOnPlateauLR
from mmengine.runner import Runner

from sskd_mm.engine.check_monitored import check_monitored

METRICS = ['accuracy/top1', 'accuracy/top5']


def check(*hooks, param_scheduler=None):
    check_monitored(hooks,
                    [SimpleNamespace(param_scheduler=param_scheduler)],
                    METRICS)


@pytest.mark.parametrize('hook', [
    CheckpointHook(save_best='coco/bbox_mAP', rule='greater'),
    CheckpointHook(save_best=['accuracy/top1', 'coco/bbox_mAP']),
    EarlyStoppingHook('coco/bbox_mAP', strict=True)
])
def test_hooks(hook):
    with pytest.raises(ValueError, match="is 'coco/bbox_mAP', but the "
                       'validation returns accuracy/top1, accuracy/top5'):
        check(hook)


@pytest.mark.parametrize('type_', [
    'ReduceOnPlateauLR', 'mmengine.ReduceOnPlateauLR', ReduceOnPlateauLR,
    'mmengine.optim.scheduler.lr_scheduler.ReduceOnPlateauLR'
])
def test_schedule_that_waits_for_a_loss(type_):
    # MMEngine's default, which no validation returns.
    with pytest.raises(ValueError, match="in param_scheduler is 'loss'"):
        check(param_scheduler=dict(type=type_))
    check(param_scheduler=[dict(type=type_, monitor='accuracy/top5')])


@pytest.mark.parametrize('hook', [
    CheckpointHook(),
    CheckpointHook(save_best='auto'),
    CheckpointHook(save_best=METRICS),
    EarlyStoppingHook('accuracy/top1', strict=True),
    EarlyStoppingHook('coco/bbox_mAP')  # only warns, as in plain training
])
def test_what_the_validation_gives(hook):
    check(hook, param_scheduler=[dict(type='LinearLR')])


def test_it_comes_before_mimicking(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.default_hooks.checkpoint.save_best = 'bbox_mAP'
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match="save_best is 'bbox_mAP', but the "
                       'validation returns coco/bbox_mAP'):
        runner.train()
    assert runner.iter == 0
