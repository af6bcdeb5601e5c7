# Copyright (c) sskd_mm authors. All rights reserved.
"""Mixed precision, accumulation and clipping of gradients, memory format."""
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.losses import L2MimicLoss


@pytest.fixture
def short_cfg(distill_cfg, tmp_path):
    """Returns a function that makes a config of two short mimic phases and a
    short head phase, with a constant learning rate."""

    def make(name, **options):
        cfg = distill_cfg(tmp_path / name)
        cfg.model.stages = ['backbone.layer2', 'neck']
        cfg.train_dataloader.batch_size = 4
        cfg.train_dataloader.dataset.indices = 12
        cfg.train_cfg.evaluate_teacher = False
        cfg.param_scheduler = []
        cfg.merge_from_dict(options)
        return cfg

    return make


def _train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def _last(cfg):
    path = (Path(cfg.work_dir) / 'last_checkpoint').read_text()
    return load_checkpoint_file(path)


def _stop_and_resume(cfg, after_iter):
    """Train until SIGTERM after some iterations, then resume."""

    @HOOKS.register_module(force=True)
    class SigtermHook(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter + 1 == after_iter:
                os.kill(os.getpid(), signal.SIGTERM)

    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='SigtermHook')]
    with pytest.raises(SystemExit, match=f'iter_{after_iter}.pth'):
        Runner.from_cfg(cfg).train()
    cfg.custom_hooks.pop()
    cfg.resume = True
    _train(cfg)


def _assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


NO_VAL = dict.fromkeys(['val_cfg', 'val_dataloader', 'val_evaluator'])

AMP = {
    **NO_VAL,
    'optim_wrapper.type': 'AmpOptimWrapper',
    # The scale changes within these few iterations.
    'optim_wrapper.loss_scale': dict(init_scale=2.**8, growth_interval=2)
}


@pytest.mark.parametrize('dtype, iters, batch_size', [
    ('bfloat16', 3, 4),
    ('float16', 2, 1),  # slow on a CPU
])
def test_mixed_precision(short_cfg, amp_on_cpu, monkeypatch, dtype, iters,
                         batch_size):
    seen = []
    forward = L2MimicLoss.forward

    def note(self, student, teacher):
        loss = forward(self, student, teacher)
        if torch.is_grad_enabled():  # no check before training
            seen.append((student.dtype, teacher.dtype, loss.dtype))
        return loss

    monkeypatch.setattr(L2MimicLoss, 'forward', note)
    options = {
        **AMP, 'optim_wrapper.dtype': dtype,
        'train_dataloader.batch_size': batch_size,
        'train_dataloader.dataset.indices': iters * batch_size
    }
    runner = _train(cfg := short_cfg('whole', **options))
    half = getattr(torch, dtype)
    # One level, then five.
    assert seen == [(half, half, torch.float32)] * 6 * iters
    whole = _last(cfg)
    for key, value in whole['state_dict'].items():
        assert value.dtype != half and torch.isfinite(value).all(), key
    scaler = whole['optimizer']['loss_scaler']
    assert scaler == runner.optim_wrapper.loss_scaler.state_dict()
    # Each phase begins with the configured scale.
    for epoch in (1, 2, 3):
        saved = load_checkpoint_file(f'{cfg.work_dir}/epoch_{epoch}.pth')
        assert saved['optimizer']['loss_scaler']['scale'] == 2**9
    if dtype == 'bfloat16':
        _stop_and_resume(cfg := short_cfg('stopped', **options), after_iter=5)
        _assert_equal(_last(cfg)['state_dict'], whole['state_dict'])
        assert _last(cfg)['optimizer']['loss_scaler'] == scaler


def test_mixed_precision_without_a_gpu_is_refused(short_cfg):
    if torch.cuda.is_available():
        pytest.skip('There is a GPU.')
    cfg = short_cfg('x', **AMP)
    with pytest.raises(AssertionError, match='only available training on gpu'):
        _train(cfg)


# The mimic phases of a student without batch norm.
PLAIN = {
    'train_cfg.head.max_epochs': 0,
    **NO_VAL,
    'model.student.backbone.norm_eval': True,
    'optim_wrapper.optimizer': dict(
        type='SGD', lr=0.1, momentum=0.9, _delete_=True),
    'optim_wrapper.clip_grad.max_norm': 0.05
}


def test_accumulated_and_clipped_batches_equal_one(short_cfg, monkeypatch):
    clipped = []
    clip = torch.nn.utils.clip_grad_norm_

    def note(params, **kwargs):
        clipped.append({id(p) for p in params})
        norm = clip(params, **kwargs)
        assert norm > kwargs['max_norm']
        return norm

    monkeypatch.setattr(torch.nn.utils, 'clip_grad_norm_', note)
    one = short_cfg('one', **PLAIN)
    runner = _train(one)
    distiller = runner.train_loop.distiller
    params = dict(distiller.named_parameters())
    trains = [{
        id(params[name])
        for name in params
        if name in [f'student.{n}' for n in distiller.partition.params[stage]]
        or name.startswith(f'adapters.{key}.')
    } for stage, key in (('layer2', 'layer2'), ('neck', 'neck'))]
    assert clipped == [trains[0]] * 3 + [trains[1]] * 3
    monkeypatch.undo()

    options = {
        **PLAIN, 'train_dataloader.batch_size': 2,
        'optim_wrapper.accumulative_counts': 2
    }
    _train(two := short_cfg('two', **options))
    assert _last(two)['sskd']['ranks'][0]['gradients'] == {}
    for key, value in _last(one)['state_dict'].items():
        torch.testing.assert_close(
            _last(two)['state_dict'][key], value, rtol=1e-4, atol=1e-6)

    # Stopped in the second phase, after one of two accumulated batches.
    _stop_and_resume(stopped := short_cfg('stopped', **options), after_iter=9)
    _assert_equal(_last(stopped)['state_dict'], _last(two)['state_dict'])


def test_channels_last(short_cfg, root, monkeypatch):
    seen = []
    forward = L2MimicLoss.forward

    def note(self, student, teacher):
        if torch.is_grad_enabled():  # no check before training
            seen.extend((student, teacher))
        return forward(self, student, teacher)

    monkeypatch.setattr(L2MimicLoss, 'forward', note)
    states = []
    for channels_last in (False, True):
        cfg = short_cfg(
            str(channels_last), **PLAIN,
            **{'model.channels_last': channels_last})
        seen.clear()
        _train(cfg)
        assert len(seen) == 36
        assert all(
            x.is_contiguous(memory_format=torch.channels_last) for x in seen
        ) == channels_last
        states.append(_last(cfg)['state_dict'])
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-3, atol=1e-5)
    plain = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        MODELS.build(plain.model).load_state_dict(states[1], strict=True)
