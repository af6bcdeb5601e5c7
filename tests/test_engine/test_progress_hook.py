# Copyright (c) sskd_mm authors. All rights reserved.
"""What is shown and logged during training."""
import io
import json
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend
from rich.console import Console

from sskd_mm.analysis import PhaseCost
from sskd_mm.engine import ProgressHook
from sskd_mm.engine.hooks import progress_hook
from sskd_mm.models import build_model
from sskd_mm.stages import Phase

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
PHASES = [
    Phase(
        'mimic/layer1', ('layer1', ), ('layer1', ),
        max_epochs=2,
        max_iters=40),
    Phase(
        'head', (), ('head', ),
        begin=2,
        begin_iter=40,
        max_epochs=4,
        max_iters=80)
]


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.)
    monkeypatch.setattr(time, 'monotonic', lambda: now.seconds)
    return now


def drive(hook, clock, seconds, start=0):
    """Six epochs of 20 iterations, with a validation of one hour after
    each."""
    runner = SimpleNamespace(
        iter=start,
        epoch=0,
        max_iters=120,
        max_epochs=6,
        train_dataloader=range(20),
        train_loop=SimpleNamespace(phases=PHASES))
    hook.before_train(runner)
    for epoch in range(6):
        runner.epoch = epoch
        for phase in PHASES:
            if phase.begin == epoch:
                hook.before_phase(runner, phase)
        hook.before_train_epoch(runner)
        for i in range(start if epoch == 0 else 0, 20):
            clock.seconds += seconds
            outputs = dict(loss=torch.tensor(.5 + epoch))
            if epoch < 2:
                outputs['distance_layer1'] = torch.tensor(.25)
                outputs['distance_neck'] = torch.tensor(.75)
            hook.after_train_iter(runner, i, outputs=outputs)
            runner.iter += 1
        clock.seconds += 3600
    hook.after_run(runner)


def test_a_line_an_epoch_in_a_file(clock):
    hook = ProgressHook('student')
    file = io.StringIO()
    hook.console = Console(file=file)
    drive(hook, clock, 2.)
    lines = file.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0] == (
        'student: phase 1 of 2, mimic/layer1, epoch 1/2, iteration 20/20, '
        'loss 0.500, distance 0.500, 0.5 it/s, left 0:00:40, '
        'whole run 0:03:20 (later phases as fast as this one)')
    assert lines[2] == (
        'student: phase 2 of 2, head, epoch 1/4, iteration 20/20, loss '
        '2.500, 0.5 it/s, left 0:02:00, whole run 0:02:00')
    assert lines[5].endswith('left 0:00:00, whole run 0:00:00')


def test_later_phases_by_their_flops(clock):
    """Of the first phase's 40 iterations 20 compute 3 GFLOPs, the others, with
    a cached teacher, 1; the head's 80 compute 6."""
    hook = ProgressHook()
    hook.costs = [
        PhaseCost('mimic/layer1', 40, 20, 3., 1.),
        PhaseCost('head', 80, 80, 6.)
    ]
    file = io.StringIO()
    hook.console = Console(file=file)
    # 1 s a GFLOP in the first epoch.
    drive(hook, clock, 3.)
    lines = file.getvalue().splitlines()
    assert lines[0].endswith('left 0:00:20, whole run 0:08:20 '
                             '(later phases estimated by FLOPs)')
    # The head is slower than told by FLOPs; its own speed holds.
    assert lines[2].endswith('left 0:03:00, whole run 0:03:00')


def test_head_on_cached_features(clock, monkeypatch):
    """Its steps compute nothing that is counted; the speed of what follows is
    that of earlier phases."""
    monkeypatch.setattr(sys.modules[__name__], 'PHASES', [
        PHASES[0],
        replace(PHASES[1], max_epochs=2, max_iters=40, cached_passes=1),
        Phase('finetune', (), ('head', ), begin=4, begin_iter=80,
              max_epochs=2, max_iters=40)
    ])
    hook = ProgressHook()
    hook.costs = [
        PhaseCost('mimic/layer1', 40, 40, 3.),
        PhaseCost('head', 40, 20, 2., 0.),
        PhaseCost('finetune', 40, 40, 6.)
    ]
    file = io.StringIO()
    hook.console = Console(file=file)
    drive(hook, clock, 3.)
    assert 'left 0:01:00, whole run 0:05:00 (' in file.getvalue().splitlines(
    )[2]


def test_resumed_within_an_epoch(clock):
    """Time before resuming does not count."""
    hook = ProgressHook()
    file = io.StringIO()
    hook.console = Console(file=file)
    drive(hook, clock, 2., start=15)
    line = file.getvalue().splitlines()[0]
    assert 'epoch 1/2, iteration 20/20' in line
    assert '0.5 it/s, left 0:00:40' in line


def test_a_line_a_phase_on_a_terminal(clock):
    hook = ProgressHook()
    file = io.StringIO()
    hook.console = Console(file=file, force_terminal=True, width=200)
    drive(hook, clock, 2.)
    lines = [x for x in file.getvalue().splitlines() if 'phase' in x]
    assert 'phase 1 of 2, mimic/layer1, epoch 2/2' in lines[-2]
    assert 'phase 2 of 2, head, epoch 4/4' in lines[-1]


def test_other_processes_are_silent(clock, monkeypatch):
    monkeypatch.setattr(progress_hook, 'is_main_process', lambda: False)
    hook = ProgressHook()
    file = io.StringIO()
    hook.console = Console(file=file)
    drive(hook, clock, 2.)
    assert not file.getvalue()


@pytest.fixture
def make_cfg(classifier_cfg, tmp_path):
    """Returns a function that makes the config of a short distillation."""
    teacher = classifier_cfg(tmp_path, RESNET, 32)
    torch.manual_seed(0)
    torch.save(
        dict(state_dict=build_model(teacher).state_dict()),
        tmp_path / 'teacher.pth')

    def make(work_dir):
        cfg = classifier_cfg(work_dir, RESNET, 32)
        cfg.model = dict(
            type='StageByStageDistiller',
            student=cfg.model,
            stages=['backbone.layer1', 'backbone.layer4'],
            teacher=dict(
                cfg=teacher.model.to_dict(),
                checkpoint=str(tmp_path / 'teacher.pth')))
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        return cfg

    return make


def test_counting_flops_changes_nothing(make_cfg, tmp_path, capsys):
    """Neither weights, running statistics nor random numbers."""
    weights = []
    for folder in ('with', 'without'):
        cfg = make_cfg(tmp_path / folder)
        cfg.train_dataloader.dataset.pipeline.insert(
            1, dict(type='RandomFlip', prob=0.5))
        if folder == 'with':
            cfg.custom_hooks = [dict(type='ProgressHook')]
        runner = Runner.from_cfg(cfg)
        runner.train()
        weights.append(runner.model.student.state_dict())
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key
    assert '(later phases estimated by FLOPs)' in capsys.readouterr().err


def test_scalars_are_tagged_with_the_phase(make_cfg, tmp_path):
    """In every backend, and only during its phase."""
    seen = []

    class Backend(BaseVisBackend):
        experiment = None

        def _init_env(self):
            pass

        def add_scalars(self, scalar_dict, step=0, file_path=None):
            seen.append(scalar_dict)

    VISBACKENDS.register_module('Seen', force=True, module=Backend)
    cfg = make_cfg(tmp_path)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.visualizer = dict(
        type='Visualizer',
        vis_backends=[dict(type='LocalVisBackend'),
                      dict(type='Seen')])
    Runner.from_cfg(cfg).train()
    (file, ) = tmp_path.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in file.read_text().splitlines()]
    for points in (logged, seen):
        points = [p for p in points if 'loss' in p]
        assert len(points) == 9
        phases = ('mimic/layer1', 'mimic/layer4', 'head')
        for number, phase in enumerate(phases):
            for point in points[3 * number:3 * number + 3]:
                tags = {k for k in point if 'loss' in k or 'distance' in k}
                stage = phase.partition('/')[2]
                assert tags == {'loss', f'{phase}/loss'} | ({
                    f'loss_mimic_{stage}', f'distance_{stage}'
                } if stage else set())
                assert point[f'{phase}/loss'] == point['loss']
