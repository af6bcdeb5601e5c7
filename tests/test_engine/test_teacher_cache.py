# Copyright (c) sskd_mm authors. All rights reserved.
"""Mimic and joint phases in which the teacher runs in some epochs only."""
import copy
import os
import signal

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.distillers.teacher_cache import TeacherCache

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
AUGMENTED = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='PackInputs')
]
METHODS = dict(
    sskd=('StageByStageDistiller', {}, 'mimic'),
    joint=('JointDistiller',
           dict(losses=[dict(type='KDLoss'),
                        dict(type='FeatureLoss')]), 'finetune'))


@pytest.fixture
def make(classifier_cfg, tmp_path):
    """Returns a function that makes a config of four epochs, of three
    iterations each, and a list that the teacher's images are counted in."""

    def make(name, method, passes):
        cfg = classifier_cfg(tmp_path / name, RESNET, 32)
        cfg.train_dataloader.dataset.pipeline = AUGMENTED
        teacher = copy.deepcopy(cfg.model)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(1)
            network = MODELS.build(copy.deepcopy(teacher))
            network.init_weights()
        path = tmp_path / 'teacher.pth'
        torch.save(dict(state_dict=network.state_dict()), path)
        type_, options, phase = METHODS[method]
        cfg.model = dict(
            type=type_,
            student=cfg.model,
            teacher=dict(
                cfg=dict(
                    data_preprocessor=copy.deepcopy(cfg.data_preprocessor),
                    **teacher),
                checkpoint=str(path)),
            **options)
        lengths = {name: dict(max_epochs=0) for name in ('mimic', 'head')}
        lengths[phase] = dict(max_epochs=4, cached_passes=passes)
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            schedule='joint',
            evaluate_teacher=False,
            **lengths)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        return cfg

    return make


def _train(cfg):
    """Train; how many images the teacher saw, and the weights."""
    runner, seen = Runner.from_cfg(cfg), []
    (teacher, ) = runner.train_loop.distiller.teachers
    teacher.model.backbone.layer1.register_forward_hook(
        lambda module, args, output: seen.append(len(output)))
    runner.train()
    weights = load_checkpoint_file(f'{cfg.work_dir}/epoch_4.pth')
    return sum(seen), weights['state_dict']


def _assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize('method', METHODS)
def test_as_many_passes_as_epochs_change_nothing(make, method):
    (_, ordinary), (_, cached) = (
        _train(make(f'passes_{n}', method, n)) for n in (0, 4))
    _assert_equal(cached, ordinary)


@pytest.mark.parametrize('method', METHODS)
def test_what_is_recalled_equals_what_is_computed(make, method, monkeypatch):
    images, cached = _train(make('cached', method, 2))
    # The check of the teacher looks at one batch, whatever the phase.
    checked = images - 2 * 20
    monkeypatch.setattr(TeacherCache, 'recall',
                        lambda self, compute, device: compute())
    images, computed = _train(make('computed', method, 2))
    assert images == 4 * 20 + checked
    _assert_equal(cached, computed)


def test_fewer_passes_are_another_training(make):
    (_, two), (_, four) = (
        _train(make(f'passes_{n}', 'sskd', n)) for n in (2, 4))
    key = 'backbone.layer4.0.conv1.weight'
    assert not torch.equal(two[key], four[key])


@pytest.mark.parametrize('method', METHODS)
def test_stopped_and_resumed(make, method):
    """In the midst of an epoch that has its batches in another order."""

    @HOOKS.register_module(force=True)
    class StopHook(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter + 1 == 8:
                os.kill(os.getpid(), signal.SIGTERM)

    _, whole = _train(make('whole', method, 1))
    cfg = make('stopped', method, 1)
    cfg.custom_hooks = [dict(type='StopHook')]
    with pytest.raises(SystemExit, match='iter_8.pth'):
        _train(cfg)
    cfg.custom_hooks = []
    cfg.resume = True
    _, resumed = _train(cfg)
    _assert_equal(resumed, whole)


@pytest.mark.parametrize('options', [
    {},
    # The second phase compares what the first one does not.
    dict(stages=['auto', 'head.fc'], inherit=['head'])
])
def test_a_phase_goes_on_with_the_cache_of_the_one_before(
        make, monkeypatch, options):

    def config(name):
        cfg = make(name, 'sskd', 1)
        cfg.model.update(options)
        cfg.train_cfg.update(
            schedule=['joint', 'last'],
            mimic=dict(max_epochs=2, cached_passes=1))
        return cfg

    checked, _ = _train(make('uncached', 'sskd', 0))
    images, cached = _train(config('cached'))
    assert images == 20 + checked - 4 * 20
    monkeypatch.setattr(TeacherCache, 'recall',
                        lambda self, compute, device: compute())
    _, computed = _train(config('computed'))
    _assert_equal(cached, computed)


def test_no_teacher_to_cache(make):
    cfg = make('off', 'sskd', 0)
    cfg.train_cfg.finetune = dict(max_epochs=1, cached_passes=1)
    with pytest.raises(ValueError, match='no use for a teacher'):
        Runner.from_cfg(cfg).train_loop
