# Copyright (c) sskd_mm authors. All rights reserved.
from types import SimpleNamespace

import pytest
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS, RUNNERS
from mmengine.runner import Runner

from sskd_mm.engine.check_runner import check_runner


@pytest.mark.parametrize('name', [
    'MMFullyShardedDataParallel', 'MMSeparateDistributedDataParallel',
    'DeepSpeedEngine'
])
def test_other_wrappers_are_refused(distill_cfg, tmp_path, name):
    cfg = distill_cfg(tmp_path, model_wrapper_cfg=dict(type=name))
    with pytest.raises(ValueError, match=f'does not run in a {name}.*'
                       'MMDistributedDataParallel.*AmpOptimWrapper'):
        Runner.from_cfg(cfg).train()


@MODEL_WRAPPERS.register_module(force=True)
class OwnDistributedDataParallel(MMDistributedDataParallel):
    pass


@pytest.mark.parametrize('wrapper', [
    None,
    dict(find_unused_parameters=True),
    dict(type='MMDistributedDataParallel'),
    dict(type=MMDistributedDataParallel),
    dict(type='OwnDistributedDataParallel')
])
def test_ddp_is_not(wrapper):
    cfg = ConfigDict(model_wrapper_cfg=wrapper, compile=False)
    check_runner(SimpleNamespace(cfg=cfg))


def test_flexible_runner_is_refused(distill_cfg, tmp_path):
    cfg = distill_cfg(
        tmp_path,
        runner_type='FlexibleRunner',
        strategy=dict(type='SingleDeviceStrategy'))
    with pytest.raises(TypeError, match='does not run in a FlexibleRunner.*'
                       'Remove runner_type and strategy'):
        RUNNERS.build(cfg).train()


def test_keys_of_mmcv_1_are_named(caplog):
    cfg = ConfigDict(
        fp16=dict(loss_scale='dynamic'),
        optimizer_config=dict(grad_clip=dict(max_norm=35)),
        optim_wrapper=dict(optimizer=dict(type='SGD')))
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        check_runner(SimpleNamespace(cfg=cfg))
    finally:
        logger.removeHandler(caplog.handler)
    assert len(caplog.messages) == 2
    assert 'fp16=' in caplog.text and 'AmpOptimWrapper' in caplog.text
    assert 'clip_grad' in caplog.text


def test_compiled_training_step_is_refused(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path, compile=dict(backend='eager'))
    with pytest.raises(ValueError, match="'StageByStageDistiller', compile="):
        Runner.from_cfg(cfg).train()
