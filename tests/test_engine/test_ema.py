# Copyright (c) sskd_mm authors. All rights reserved.
import gc
import json
import os
import signal
import weakref
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, load_checkpoint

from sskd_mm.compat import load_checkpoint_file

MOMENTUM = 0.3


class AverageHook(Hook):
    """Averages the student's weights independently, restarted in each
    phase."""

    priority = 'LOWEST'

    def __init__(self):
        self.averages, self.ends = [], []

    def before_phase(self, runner, phase):
        self.averages.append({})

    def after_train_iter(self, runner, *args, **kwargs):
        student = runner.train_loop.distiller.student
        average = self.averages[-1]
        for name, param in student.named_parameters():
            value = param.detach().clone()
            old = average.setdefault(name, value)
            average[name] = (1 - MOMENTUM) * old + MOMENTUM * value

    def after_phase(self, runner, phase):
        # After PhaseHook.
        student = runner.train_loop.distiller.student
        self.ends.append({
            name: param.detach().clone()
            for name, param in student.named_parameters()
        })


def _cfg(distill_cfg, work_dir):
    cfg = distill_cfg(work_dir)
    cfg.model.stages = ['backbone.layer2', 'neck']
    # The student of a random teacher finds nothing above the usual threshold.
    cfg.model.student.test_cfg.rcnn.score_thr = 0.0
    cfg.train_dataloader.batch_size = 4
    cfg.train_dataloader.dataset.indices = 12
    cfg.train_cfg.evaluate_teacher = False
    cfg.train_cfg.head.max_epochs = 2
    cfg.param_scheduler = []
    cfg.custom_hooks = [dict(type='EMAHook', momentum=MOMENTUM)]
    return cfg


def _load(cfg, epoch):
    return load_checkpoint_file(f'{cfg.work_dir}/epoch_{epoch}.pth')


@pytest.fixture(scope='module')
def run(distill_cfg, tmp_path_factory):
    cfg = _cfg(distill_cfg, tmp_path_factory.mktemp('run'))
    runner = Runner.from_cfg(cfg)
    average = AverageHook()
    runner.register_hook(average)
    runner.train()
    return cfg, runner, average


def test_the_average_is_what_a_phase_leaves(run):
    """It is frozen, saved, and the start of the next phase."""
    cfg, _, average = run
    assert len(average.averages) == 3
    for expected, end, epoch in zip(average.averages, average.ends, (1, 2, 4)):
        saved = _load(cfg, epoch)['state_dict']
        for name, value in expected.items():
            torch.testing.assert_close(end[name], value)
            assert torch.equal(saved[name], end[name]), name
    # Frozen weights stay bit-equal.
    for name, value in average.ends[0].items():
        if name.startswith(('backbone.conv1', 'backbone.layer2')):
            assert torch.equal(value, average.ends[2][name]), name


@HOOKS.register_module()
class TeacherAliveHook(Hook):

    seen = []

    def before_run(self, runner):
        loop = runner.train_loop
        self.teacher = weakref.ref(loop.distiller.teachers[0].model)
        assert not loop.distiller.partition.features

    def after_train_epoch(self, runner):
        gc.collect()
        self.seen.append(
            (runner.train_loop.phase.kind, self.teacher() is not None))


def test_the_teacher_is_gone_behind_mimicking(distill_cfg, tmp_path):
    """The average holds no copy of the teacher, nor the features of the dry
    run."""
    cfg = _cfg(distill_cfg, tmp_path)
    cfg.train_cfg.update(head=dict(max_epochs=1), finetune=dict(max_epochs=1))
    cfg.train_dataloader.dataset.indices = 4
    cfg.custom_hooks.append(dict(type='TeacherAliveHook'))
    Runner.from_cfg(cfg).train()
    assert TeacherAliveHook.seen == [('mimic', True), ('mimic', True),
                                     ('head', False), ('finetune', False)]


def test_the_average_shares_the_teacher(run, distill_cfg, tmp_path):
    _, runner, _ = run
    hook, = (h for h in runner.hooks if isinstance(h, EMAHook))
    names = dict(hook.ema_model.named_parameters())
    assert not any('teacher' in name for name in names)
    runner = Runner.from_cfg(_cfg(distill_cfg, tmp_path))
    distiller = runner.build_train_loop(runner._train_loop).distiller
    hook, = (h for h in runner.hooks if isinstance(h, EMAHook))
    hook.before_run(runner)
    assert hook.ema_model.module is not distiller
    assert hook.ema_model.module.teachers[0] is distiller.teachers[0]


def test_checkpoints_score_as_in_the_run_s_validation(run, root):
    cfg, _, _ = run
    curve = json.loads(
        Path(cfg.work_dir, 'result.json').read_text())['student_curve']
    plain = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    plain.model = cfg.model.student
    plain.test_dataloader = cfg.test_dataloader
    plain.test_evaluator = cfg.test_evaluator
    for note, epoch in zip(curve, (3, 4)):
        assert note.pop('epoch') == epoch
        assert note.pop('iteration') == epoch * 3
        plain.work_dir = f'{cfg.work_dir}/plain_{epoch}'
        runner = Runner.from_cfg(plain)
        load_checkpoint(
            runner.model, f'{cfg.work_dir}/epoch_{epoch}.pth', strict=True)
        assert runner.test() == note


@pytest.mark.slow
def test_stopped_and_resumed_equals_not_stopped(run, distill_cfg, tmp_path):
    cfg, _, _ = run

    @HOOKS.register_module(force=True)
    class SigtermHook(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter + 1 == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)

    again = _cfg(distill_cfg, tmp_path)
    again.custom_hooks.append(dict(type='SigtermHook'))
    # Within a mimic phase, and between mimic and head phase.
    for stop_after in (2, 6):
        with pytest.raises(SystemExit):
            Runner.from_cfg(again).train()
        again.resume = True
    stop_after = None
    Runner.from_cfg(again).train()
    ours, theirs = _load(again, 4), _load(cfg, 4)
    for part in ('state_dict', 'ema_state_dict'):
        assert list(ours[part]) == list(theirs[part])
        for key, value in ours[part].items():
            assert torch.equal(value, theirs[part][key]), key
