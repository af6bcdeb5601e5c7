# Copyright (c) sskd_mm authors. All rights reserved.
"""A head phase on cached features against an ordinary one."""
import copy
import gc
import json
import os
import signal
import weakref
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner
from tool_process import ToolProcess

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.distillers import HeadOnFeatures

ROOT = Path(__file__).parents[2]
RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
VIT = dict(
    type='VisionTransformer',
    img_size=32,
    patch_size=8,
    arch=dict(
        embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=16))
AUGMENTED = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='PackInputs')
]


@pytest.fixture
def make(classifier_cfg, tmp_path):
    """Returns a function that makes a config of one mimic epoch and three of
    the head, with three iterations each."""

    def make(name, student=(RESNET, 32), model=None, **head):
        cfg = classifier_cfg(tmp_path / name, *student)
        teacher = copy.deepcopy(cfg.model)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(0)
            network = MODELS.build(copy.deepcopy(teacher))
            network.init_weights()
        path = tmp_path / 'teacher.pth'
        torch.save(dict(state_dict=network.state_dict()), path)
        cfg.model = dict(
            type='StageByStageDistiller',
            student=cfg.model,
            teacher=dict(
                cfg=dict(
                    data_preprocessor=copy.deepcopy(cfg.data_preprocessor),
                    **teacher),
                checkpoint=str(path)),
            **(model or dict(stages=['backbone.layer4'])))
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=3, **head),
            evaluate_teacher=False)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        return cfg

    return make


def _train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def _weights(cfg, name='epoch_4.pth'):
    return load_checkpoint_file(f'{cfg.work_dir}/{name}')['state_dict']


def _assert_equal(ours, theirs, **tolerance):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        if tolerance:
            torch.testing.assert_close(
                value, theirs[key], msg=key, **tolerance)
        else:
            assert torch.equal(value, theirs[key]), key


def _log(cfg):
    (log, ) = Path(cfg.work_dir).rglob('*.log')
    return log.read_text()


def test_images_are_mixed_with_those_of_other_classes(make, monkeypatch):
    """Though the data set is sorted by class, with two images each."""
    cfg = make('run', cached_passes=1)
    cfg.train_dataloader.batch_size = 2
    cfg.data_preprocessor.update(
        to_onehot=True,
        batch_augments=dict(augments=[dict(type='Mixup', alpha=1.0)]))
    mixed, forward = [], HeadOnFeatures.forward

    def look(self, inputs, labels, scores, mode):
        mixed.extend((scores > 0).sum(1).tolist())
        return forward(self, inputs, labels, scores, mode)

    monkeypatch.setattr(HeadOnFeatures, 'forward', look)
    _train(cfg)
    assert len(mixed) == 3 * 20 and mixed.count(2) > 30


def _count_images(cfg):
    """Train; return how many images passed the backbone in the head phase."""
    images = []

    @HOOKS.register_module(force=True)
    class CountHook(Hook):

        def before_phase(self, runner, phase):
            if phase.name == 'head':
                runner.model.student.backbone.register_forward_hook(
                    lambda module, args, output: images.append(
                        (len(args[0]), torch.is_grad_enabled())))

    cfg.custom_hooks = [dict(type='CountHook')]
    _train(cfg)
    assert not any(graph for _, graph in images)
    return sum(number for number, _ in images)


def test_equals_an_ordinary_head_phase(make):
    """Without augmentation, one pass equals one per epoch, in the same order
    of batches."""
    ordinary, cached = make('ordinary'), make('cached', cached_passes=1)
    _train(ordinary)
    assert _count_images(cached) == 20
    before, after = _weights(cached, 'epoch_1.pth'), _weights(cached)
    _assert_equal(_weights(ordinary, 'epoch_1.pth'), before)
    _assert_equal(after, _weights(ordinary), rtol=1e-4, atol=1e-6)
    for key, value in after.items():
        assert torch.equal(value, before[key]) != key.startswith('head'), key
    phases = json.loads(
        Path(cached.work_dir, 'result.json').read_text())['phases']
    assert [p.get('cached_passes') for p in phases] == [None, 1]
    ours, theirs = (
        json.loads(Path(cfg.work_dir,
                        'result.json').read_text())['phases'][1]
        for cfg in (cached, ordinary))
    for key in ('loss_first', 'loss_last'):
        assert ours[key] == pytest.approx(theirs[key], rel=1e-4)


def test_passes_are_augmented_as_epochs_are(make):
    """As many passes as epochs equal an ordinary phase, fewer do not."""
    weights = []
    for passes in (0, 3, 2):
        cfg = make(f'passes_{passes}', cached_passes=passes)
        cfg.train_dataloader.dataset.pipeline = AUGMENTED
        if passes:
            assert _count_images(cfg) == 20 * passes
        else:
            _train(cfg)
        weights.append([_weights(cfg, f'epoch_{i}.pth') for i in (2, 3, 4)])
    for ours, theirs in zip(weights[1], weights[0]):
        _assert_equal(ours, theirs, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(weights[2][:2], weights[1]):
        _assert_equal(ours, theirs)
    assert not torch.allclose(weights[2][2]['head.fc.weight'],
                              weights[1][2]['head.fc.weight'],
                              rtol=1e-4)


@pytest.mark.parametrize('ema', [False, True])
def test_stopped_and_resumed(make, ema):
    """Within an epoch that reuses the first pass."""

    @HOOKS.register_module(force=True)
    class StopHook(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter + 1 == 11:
                os.kill(os.getpid(), signal.SIGTERM)

    def config(name):
        cfg = make(name, cached_passes=2)
        cfg.train_dataloader.dataset.pipeline = AUGMENTED
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.3)] * ema
        return cfg

    whole, stopped = config('whole'), config('stopped')
    _train(whole)
    stopped.custom_hooks = [*stopped.custom_hooks, dict(type='StopHook')]
    with pytest.raises(SystemExit, match='iter_11.pth'):
        _train(stopped)
    stopped.custom_hooks = stopped.custom_hooks[:-1]
    stopped.resume = True
    assert _train(stopped).iter == 12
    _assert_equal(_weights(stopped), _weights(whole))
    # Another phase can follow.
    whole.train_cfg.finetune = dict(max_epochs=1)
    whole.resume = True
    assert _train(whole).iter == 15


def test_mixed_precision(make, amp_on_cpu):
    ordinary, cached = make('ordinary'), make('cached', cached_passes=1)
    for cfg in (ordinary, cached):
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    _train(ordinary)
    cached.log_level = 'INFO'
    _train(cached)
    assert 'features (20, 32) bfloat16' in _log(cached)
    _assert_equal(_weights(cached), _weights(ordinary), rtol=1e-2, atol=1e-4)


def test_accumulation_and_mixed_labels(make):
    weights = []
    for passes in (0, 3):
        cfg = make(f'passes_{passes}', cached_passes=passes)
        cfg.optim_wrapper.accumulative_counts = 2
        cfg.data_preprocessor.to_onehot = True
        cfg.model.student.head.loss = dict(
            type='LabelSmoothLoss', label_smooth_val=0.1)
        cfg.log_level = 'INFO'
        _train(cfg)
        weights.append(_weights(cfg))
    assert 'features (20, 32) float32, (20, 10) int64, ' in _log(cfg)
    _assert_equal(*weights, rtol=1e-4, atol=1e-6)


def test_two_processes(make):
    """Each computes its share; both train on the ordinary batches."""
    weights = []
    for passes in (0, 1):
        # Otherwise each process would have its own running statistics.
        student = dict(RESNET, norm_eval=True), 32
        cfg = make(f'passes_{passes}', student, cached_passes=passes)
        cfg.train_dataloader.batch_size = 3  # 4 batches, one short
        path = f'{cfg.work_dir}.py'
        cfg.log_level = 'INFO'
        cfg.default_hooks.checkpoint.interval = 4
        cfg.dump(path)
        output = ToolProcess(
            ROOT / 'tools/train.py',
            path,
            '--launcher',
            'pytorch',
            processes=2).finish()
        weights.append(_weights(cfg))
    assert ('features (20, 32) float32, 0.0 MiB of memory'
            in output)
    _assert_equal(*weights, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('options, says', [
    (dict(model=dict(stages=['backbone.layer3'])),
     'backbone.layer4.0.bn1.bias.* train in the head phase but come before .*'
     'With a tap after them'),
    (dict(student=(VIT, 16, None), model=dict(stages='auto')),
     r"backbone.ln1.bias.*\(stages=\[..., 'backbone.ln1'\]\)"),
])
def test_what_cannot_be_cached(make, options, says):
    cfg = make('run', cached_passes=2, **options)
    with pytest.raises(ValueError, match=says) as error:
        _train(cfg)
    assert 'Remove cached_passes' in str(error.value)
    assert not list(Path(cfg.work_dir).glob('*.pth'))


def test_dropout_before_the_head(make):

    @MODELS.register_module(force=True)
    class DropNeck(torch.nn.Module):

        def __init__(self, p):
            super().__init__()
            self.drop = torch.nn.Dropout(p)

        def forward(self, inputs):
            return tuple(self.drop(x).mean((2, 3)) for x in inputs)

    for p in (0.5, 0.):
        cfg = make('run', cached_passes=2)
        for model in (cfg.model.student, cfg.model.teacher.cfg):
            model.neck = dict(type='DropNeck', p=p)
        if p:
            with pytest.raises(ValueError, match='neck.drop before the head'):
                _train(cfg)
        else:
            _train(cfg)


def test_detectors_are_refused(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.train_cfg.head.cached_passes = 1
    with pytest.raises(
            ValueError, match='a FasterRCNN, is no mmpretrain classifier'):
        Runner.from_cfg(cfg).train()


def test_settings(make):
    cfg = make('run', cached_passes=1.5)
    with pytest.raises(
            ValueError, match="cached_passes=1.5 of the phase 'head'"):
        _train(cfg)
    cfg = make('run', cached=1)
    with pytest.raises(ValueError, match="phase 'head' has the key 'cached'"):
        _train(cfg)


def test_features_that_do_not_fit(make, monkeypatch):
    """32 numbers of four bytes for each of 20 images, twice."""
    for available in (2 * 20 * 32 * 4 - 1, 2 * 20 * 32 * 4):
        monkeypatch.setattr(
            'sskd_mm.engine.check_cacheable.available_memory',
            lambda: available)
        cfg = make('run', cached_passes=2)
        if available % 2:
            with pytest.raises(ValueError, match=r'\(32,\) of 40 images'):
                Runner.from_cfg(cfg).train_loop
        else:
            Runner.from_cfg(cfg).train_loop


def test_no_teacher_and_no_graph(make):
    """In an ordinary head phase, the teacher's memory is free, and nothing
    before the head has a gradient."""
    loop = Runner.from_cfg(make('run')).train_loop
    distiller = loop.distiller
    teacher = weakref.ref(distiller.teachers[0].model)
    loop.enter_phase(loop.phases[0])
    assert teacher() is not None
    loop.enter_phase(loop.phases[1])
    gc.collect()
    assert teacher() is None
    data = distiller.data_preprocessor(loop.feeds.base.sample(), True)
    with torch.enable_grad():
        features = distiller.student.extract_feat(data['inputs'])
    assert all(x.grad_fn is None for x in features)
    loss = distiller(**data, mode='loss')['loss']
    loss.backward()
    for name, parameter in distiller.student.named_parameters():
        assert (parameter.grad is not None) == name.startswith('head.'), name
