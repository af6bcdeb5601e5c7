# Copyright (c) sskd_mm authors. All rights reserved.
"""Distillations that fail, on the tiny data set."""
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.engine import MimicWatchHook
from sskd_mm.stages import Phase


class SpoilHook(Hook):
    """Modifies the student before or after an iteration."""

    def __init__(self, before=None, after=None):
        self.before, self.after = before or {}, after or {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before.get(runner.iter, lambda student: None)(
            runner.train_loop.distiller.student)

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.after.get(runner.iter, lambda student: None)(
            runner.train_loop.distiller.student)


def set_layer1(value):

    def spoil(student):
        with torch.no_grad():
            student.backbone.layer1[1].conv2.weight.fill_(value)

    return spoil


def set_head(student):
    with torch.no_grad():
        student.roi_head.bbox_head.fc_cls.bias.fill_(torch.nan)


@pytest.fixture
def layer1_cfg(distill_cfg, tmp_path):
    """Two epochs of four iterations on layer1 only."""
    cfg = distill_cfg(tmp_path)
    cfg.train_dataloader.update(batch_size=2)
    cfg.train_dataloader.dataset.indices = 8
    cfg.train_cfg.update(
        evaluate_teacher=False,
        mimic=dict(max_epochs=0),
        head=dict(max_epochs=0),
        phases={'mimic/layer1': dict(max_epochs=2, param_scheduler=None)})
    return cfg


def train(cfg, *hooks):
    """Returns the runner and its log."""
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner, log_of(cfg)


def log_of(cfg):
    path, = (p for p in os.scandir(cfg.work_dir) if p.is_dir())
    return open(f'{path.path}/{path.name}.log').read()


def saved(cfg):
    """Names of the checkpoints; asserts that each is finite."""
    names = sorted(n for n in os.listdir(cfg.work_dir) if n.endswith('.pth'))
    for name in names:
        checkpoint = load_checkpoint_file(f'{cfg.work_dir}/{name}')
        for key, value in checkpoint['state_dict'].items():
            assert value.isfinite().all(), (name, key)
    return names


# --- Not finite --------------------------------------------------------------


@pytest.mark.parametrize('value, text', [(torch.nan, 'nan'),
                                         (torch.inf, 'nan|inf')])
def test_loss_that_is_not_finite_stops(layer1_cfg, value, text):
    """It is read at the end of the epoch; the previous checkpoint is kept."""
    layer1_cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    with pytest.raises(
            FloatingPointError,
            match=f"Phase 'mimic/layer1': the mimic loss of the tap 'layer1' "
            f'became ({text}) in epoch 2, iteration 2 of 4 .learning rate '
            '0.003, precision torch.float32.*smaller learning rate'):
        train(layer1_cfg, SpoilHook(before={5: set_layer1(value)}))
    assert saved(layer1_cfg) == ['epoch_1.pth']


def test_no_checkpoint_within_an_epoch_is_spoilt(layer1_cfg):
    layer1_cfg.default_hooks.checkpoint.update(by_epoch=False, interval=1)
    with pytest.raises(FloatingPointError, match='iteration 3 of 4'):
        train(layer1_cfg, SpoilHook(before={2: set_layer1(torch.nan)}))
    assert saved(layer1_cfg) == ['iter_1.pth', 'iter_2.pth']
    with open(f'{layer1_cfg.work_dir}/last_checkpoint') as f:
        assert f.read().endswith('iter_2.pth')


def test_weights_that_a_finite_loss_spoils_are_not_saved(layer1_cfg):
    """Like an infinite gradient: the loss shows it one iteration later."""
    with pytest.raises(
            FloatingPointError,
            match="Phase 'mimic/layer1', epoch 1: 1 of the trained weights.*"
            'student.backbone.layer1.1.conv2.weight, though the loss was'):
        train(layer1_cfg, SpoilHook(after={3: set_layer1(torch.nan)}))
    assert saved(layer1_cfg) == []


def test_a_signal_saves_nothing_spoilt(layer1_cfg):

    def spoil_and_terminate(student):
        set_layer1(torch.nan)(student)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(FloatingPointError, match='iteration 2 of 4'):
        train(layer1_cfg, SpoilHook(before={1: spoil_and_terminate}))
    assert saved(layer1_cfg) == []


def test_head_phase(layer1_cfg):
    layer1_cfg.train_cfg.phases = {}
    layer1_cfg.train_cfg.head.max_epochs = 1
    with pytest.raises(
            FloatingPointError,
            match="Phase 'head': 'loss_cls' became nan in epoch 1, "
            'iteration 2 of 4'):
        train(layer1_cfg, SpoilHook(before={1: set_head}))
    assert saved(layer1_cfg) == []


@OPTIM_WRAPPERS.register_module(force=True)
class ScalerOptimWrapper(OptimWrapper):
    """Like AmpOptimWrapper, which needs a GPU."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scaler = torch.amp.GradScaler('cpu')

    def backward(self, loss, **kwargs):
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.scaler.step(self.optimizer)
        self.scaler.update()


def test_skipped_step_is_no_error(layer1_cfg):
    """The gradient of one iteration overflows, its loss does not."""
    phase = layer1_cfg.train_cfg.phases['mimic/layer1']
    phase.optim_wrapper = dict(type='ScalerOptimWrapper', clip_grad=None)
    handles, scales = [], []

    def overflow(student):
        weight = student.backbone.layer1[1].conv2.weight
        handles.append(weight.register_hook(lambda grad: grad * torch.inf))

    runner = Runner.from_cfg(layer1_cfg)
    runner.register_hook(
        SpoilHook(
            before={1: overflow},
            after={
                1: lambda student: handles.pop().remove(),
                2: lambda student: scales.append(runner.optim_wrapper.scaler.
                                                 get_scale())
            }))
    runner.train()
    assert scales == [2.**15], 'one step was skipped'
    assert saved(layer1_cfg) == ['epoch_1.pth', 'epoch_2.pth']


def test_losses_are_read_now_and_then():
    """Meta tensors cannot be read."""
    hook = MimicWatchHook()
    hook.before_phase(None, Phase('mimic/layer1', ('layer1', ), ()))
    loss = torch.tensor(1., device='meta')
    outputs = dict(loss=loss, loss_mimic_layer1=loss, acc=0.5)
    for index in range(49):
        hook.after_train_iter(SimpleNamespace(), index, outputs=outputs)
    with pytest.raises((NotImplementedError, RuntimeError), match='meta'):
        hook.after_train_iter(SimpleNamespace(), 49, outputs=outputs)


# --- Exploding, flat ---------------------------------------------------------


def settings(cfg, **optimizer):
    cfg.train_cfg.phases['mimic/layer1'].optim_wrapper = dict(
        optimizer=optimizer, clip_grad=None)


def test_a_stage_that_learns_is_left_alone(layer1_cfg):
    _, log = train(layer1_cfg)
    assert 'the mimic loss' not in log and 'the same for two' not in log


def test_explosion(layer1_cfg, monkeypatch):
    monkeypatch.setattr(MimicWatchHook, 'interval', 2)
    settings(layer1_cfg, lr=10.)
    _, log = train(layer1_cfg)
    assert log.count("the mimic loss of the tap 'layer1' explodes") == 1
    assert 'explodes. It began at' in log
    assert 'in epoch 1 (learning rate 10, precision torch.float32)' in log


@pytest.mark.parametrize('batch_size, epochs, what', [
    (8, 3, 'epoch'),
    (1, 1, 'quarter of its epoch'),
])
def test_flat(layer1_cfg, batch_size, epochs, what):
    """One image eight times, as a batch or one by one."""
    settings(layer1_cfg, lr=0.)
    layer1_cfg.train_dataloader.batch_size = batch_size
    layer1_cfg.train_dataloader.dataset.indices = [0] * 8
    layer1_cfg.train_cfg.phases['mimic/layer1'].max_epochs = epochs
    _, log = train(layer1_cfg)
    assert ("Phase 'mimic/layer1': the mimic loss of the tap 'layer1' fell "
            'by less than 1% from the first (') in log
    assert f'to the last {what} (' in log
    assert 'another learning rate, train_cfg.phases=' in log


@pytest.mark.slow
def test_resumed_run_compares_with_the_same_losses(layer1_cfg, tmp_path,
                                                   monkeypatch):
    monkeypatch.setattr(MimicWatchHook, 'interval', 2)

    def losses(runner):
        hook, = (h for h in runner.hooks if isinstance(h, MimicWatchHook))
        return hook._losses

    whole, _ = train(layer1_cfg)
    expected = losses(whole)
    assert expected['start'] and expected['first']
    # Within the first window, the first epoch, and the second.
    for stop in (0, 2, 6):
        cfg = layer1_cfg.copy()
        cfg.work_dir = str(tmp_path / f'stopped_{stop}')
        with pytest.raises(KeyboardInterrupt, match='Saved'):
            train(
                cfg,
                SpoilHook(before={
                    stop: lambda student: os.kill(os.getpid(), signal.SIGINT)
                }))
        cfg.resume = True
        runner = Runner.from_cfg(cfg)
        runner.train()
        assert losses(runner) == expected


# --- Dead taps ---------------------------------------------------------------


def test_dead_teacher_is_found_before_training(layer1_cfg, teacher_checkpoint,
                                               tmp_path):
    """At the taps that are used, and no others."""
    checkpoint = torch.load(teacher_checkpoint)
    for key, value in checkpoint['state_dict'].items():
        if key.startswith('backbone.layer2') and 'conv' not in key:
            if key.endswith(('bn3.weight', 'bn3.bias', 'downsample.1.weight',
                             'downsample.1.bias')):
                value.zero_()
    path = str(tmp_path / 'dead.pth')
    torch.save(checkpoint, path)
    layer1_cfg.model.teacher.checkpoint = path
    train(layer1_cfg)
    layer1_cfg.work_dir += '/layer2'
    layer1_cfg.train_cfg.phases['mimic/layer2'] = dict(max_epochs=1)
    with pytest.raises(
            ValueError,
            match="The tap 'layer2': the teacher's feature .backbone.layer2. "
            'is the same for two different images.*dead.pth.*model.stages'):
        train(layer1_cfg)
    assert saved(layer1_cfg) == []


def test_dead_student(layer1_cfg):
    settings(layer1_cfg, lr=0.)

    def kill(student):
        with torch.no_grad():
            student.backbone.layer1[1].bn2.weight.zero_()
            student.backbone.layer1[1].bn2.bias.fill_(-1000)

    _, log = train(layer1_cfg, SpoilHook(before={0: kill}))
    assert ("Phase 'mimic/layer1' ended, and the student's feature at the "
            "tap 'layer1' (backbone.layer1) is the same for two different "
            'images, e.g. because of dead ReLUs') in log
