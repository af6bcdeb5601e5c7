# Copyright (c) sskd_mm authors. All rights reserved.
"""Mimic and joint phases in which the teacher runs in some epochs only."""
import copy
import errno
import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.models.utils.batch_augments import RandomBatchAugment
from torch.utils._pytree import tree_leaves

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.distillers import Teachers

CPU = torch.device('cpu')
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
    """Returns a function that makes a config of four epochs of three
    iterations each, and a list that counts the teacher's images."""

    def make(name, method, passes, **settings):
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
            **lengths,
            **settings)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        return cfg

    return make


def _train(cfg):
    """Train; return how many images the teacher saw, and the weights."""
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
    # The check of the teacher uses one batch, in any phase.
    checked = images - 2 * 20
    monkeypatch.setattr(Teachers, 'recall',
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
    """Within an epoch that replays batches in another order."""

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
    # The second phase compares a tap that the first one does not.
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
    # Two more to measure the size of the cache.
    assert images == 20 + 2 + checked - 4 * 20
    monkeypatch.setattr(Teachers, 'recall',
                        lambda self, compute, device: compute())
    _, computed = _train(config('computed'))
    _assert_equal(cached, computed)


def test_no_teacher_to_cache(make):
    cfg = make('off', 'sskd', 0)
    cfg.train_cfg.finetune = dict(max_epochs=1, cached_passes=1)
    with pytest.raises(ValueError, match='uses no teacher'):
        Runner.from_cfg(cfg).train_loop


# --- A recalled batch is the one that it stands for -----------------------


@HOOKS.register_module()
class SwitchAt(Hook):
    """Does something to the run when an epoch begins."""

    def __init__(self, epoch, change):
        self.epoch, self.change = epoch, change

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            CHANGES[self.change](runner)


def _switch_pipeline(runner):
    runner.train_dataloader.dataset.pipeline = Compose([
        dict(type='LoadImageFromFile'),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackInputs')
    ])


def _switch_augments(runner):
    runner.train_loop.distiller.data_preprocessor.batch_augments = (
        RandomBatchAugment([dict(type='CutMix', alpha=1.0)]))


CHANGES = dict(pipeline=_switch_pipeline, augments=_switch_augments)


class Unrepeatable(torch.utils.data.Dataset):
    """Draws from an unseeded generator, like albumentations."""

    def __init__(self, dataset):
        self.dataset, self.rng = dataset, np.random.default_rng()

    def __getitem__(self, index):
        sample = self.dataset[index]
        noise = self.rng.integers(0, 9, sample['inputs'].shape)
        sample['inputs'] += torch.from_numpy(noise).to(torch.uint8)
        return sample

    def __len__(self):
        return len(self.dataset)


@DATASETS.register_module()
def unrepeatable(dataset):
    return Unrepeatable(DATASETS.build(dataset))


def _compare_each(monkeypatch):
    """Record how far each cached feature is from a computed one."""
    errors, recall = [], Teachers.recall

    def both(self, compute, device):
        found, now = recall(self, compute, device), compute()
        errors.append(
            max(
                float((a - b).abs().max())
                for a, b in zip(tree_leaves(found), tree_leaves(now))
                if isinstance(a, torch.Tensor)))
        return found

    monkeypatch.setattr(Teachers, 'recall', both)
    return errors


@pytest.mark.parametrize('folder', [None, 'cache'])
@pytest.mark.parametrize('what', ['pipeline', 'augments', 'data', 'mixed'])
@pytest.mark.parametrize('method', METHODS)
def test_nothing_else_is_recalled(make, tmp_path, monkeypatch, what, folder,
                                  method):
    cfg = make('run', method, 1)
    if folder:
        cfg.train_cfg.cache_dir = str(tmp_path / folder)
    if what == 'data':
        cfg.train_dataloader.dataset = dict(
            type='unrepeatable',
            dataset=dict(cfg.train_dataloader.dataset, _scope_='mmpretrain'))
    if what in ('mixed', 'augments'):
        cfg.data_preprocessor.batch_augments = dict(
            augments=[dict(type='Mixup', alpha=1.0)])
    if what in CHANGES:
        cfg.custom_hooks = [dict(type='SwitchAt', epoch=1, change=what)]
    errors = _compare_each(monkeypatch)
    Runner.from_cfg(cfg).train()
    assert len(errors) >= 12 and max(errors) == 0


def test_what_is_recalled_no_more_is_said(make, tmp_path):
    cfg = make('run', 'sskd', 1)
    cfg.custom_hooks = [dict(type='SwitchAt', epoch=1, change='pipeline')]
    images, _ = _train(cfg)
    checked, _ = _train(make('uncached', 'sskd', 0))
    # Computed once more after the switch, then cached again.
    assert images == 2 * 20 + 2 + checked - 4 * 20
    (log, ) = (tmp_path / 'run').rglob('*.log')
    assert log.read_text().count(
        '3 batches of this epoch differed from the cached ones') == 1


def test_batches_that_cannot_be_told(make):
    cfg = make('run', 'sskd', 1)
    cfg.data_preprocessor.batch_augments = dict(
        augments=[dict(type='Mixup', alpha=1.0)])
    cfg.data_preprocessor.to_onehot = True
    loop = Runner.from_cfg(cfg).train_loop
    loop.distiller.data_preprocessor.note = lambda: None
    with pytest.raises(ValueError, match='cannot be pickled.*named functions'):
        loop.run()


def test_features_that_do_not_fit_into_memory(make, monkeypatch):
    """Four taps of 32 x 32 x 4 to 4 x 4 x 32 numbers of four bytes."""
    needed = 2 * 20 * 4 * (4096 + 2048 + 1024 + 512)
    for available in (needed - 1, needed):
        monkeypatch.setattr(
            'sskd_mm.engine.open_teacher_cache.available_memory',
            lambda: available)
        loop = Runner.from_cfg(make(f'run{available}', 'sskd', 2)).train_loop
        if available < needed:
            with pytest.raises(ValueError, match='20 images.*cache_dir='):
                loop.run()
        else:
            loop.run()


def test_the_cache_is_gone_behind_its_phases(make):
    cfg = make('run', 'sskd', 1)
    cfg.train_cfg.update(
        schedule=['joint', 'last'],
        phases={'mimic/last': dict(cached_passes=2)},
        head=dict(max_epochs=1))
    loop = Runner.from_cfg(cfg).train_loop
    caches = []
    for phase in loop.phases:
        loop.enter_phase(phase)
        caches.append(loop.distiller.teachers.cache)
        if caches[-1] is not None:
            caches[-1].recall((0, 0), 0, lambda: torch.ones(1), CPU)
    assert caches[0] is not caches[1] and caches[2] is None
    assert [cache.num_bytes for cache in caches[:2]] == [0, 0]


# --- On disk ----------------------------------------------------------------


@pytest.fixture
def on_disk(make, tmp_path):
    """The same, with ``cache_dir``."""

    def on_disk(name, method='sskd', passes=2, **options):
        return make(name, method, passes, cache_dir=str(tmp_path / 'cache'),
                    **options)

    return on_disk


def _files(cache):
    return sorted(cache.rglob('*.pt'))


@pytest.mark.parametrize('method', METHODS)
def test_on_disk_as_in_memory(make, on_disk, method, tmp_path):
    """A second run, with another student, needs no teacher."""
    images, in_memory = _train(make('memory', method, 2))
    same, first = _train(on_disk('first', method))
    assert same == images
    _assert_equal(first, in_memory)
    files = _files(tmp_path / 'cache')
    checked = images - 2 * 20
    same, second = _train(on_disk('second', method))
    assert same == checked
    _assert_equal(second, first)
    other = on_disk('other', method)
    other.model.student.backbone.base_channels = 8
    other.model.student.head.in_channels = 64
    assert _train(other)[0] == checked
    assert _files(tmp_path / 'cache') == files


def _other_seed(cfg):
    cfg.randomness.seed = 1


def _other_teacher(cfg):
    path = cfg.model.teacher.checkpoint
    weights = torch.load(path)
    weights['state_dict']['backbone.conv1.weight'][0, 0, 0, 0] += 1
    torch.save(weights, path)


def _other_pipeline(cfg):
    cfg.train_dataloader.dataset.pipeline[1].padding = 2


def _other_taps(cfg):
    cfg.model.stages = ['backbone.layer2', 'neck']


def _other_batch(cfg):
    cfg.train_dataloader.batch_size = 5


def _other_normalisation(cfg):
    cfg.data_preprocessor.mean = [0., 0., 0.]


def _other_precision(cfg):
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')


@pytest.mark.parametrize('change', [
    _other_seed, _other_teacher, _other_pipeline, _other_taps, _other_batch,
    _other_normalisation, _other_precision
])
def test_a_cache_of_something_else_is_not_used(on_disk, tmp_path, change,
                                               amp_on_cpu):
    """Each of these changes the teacher's outputs."""
    folders = []
    for name, changes in (('one', ()), ('two', (change, )), ('three', ())):
        cfg = on_disk(name)
        cfg.train_dataloader = copy.deepcopy(cfg.train_dataloader)
        for each in changes:
            each(cfg)
        loop = Runner.from_cfg(cfg).train_loop
        loop.enter_phase(loop.phases[0])
        folders.append(loop.distiller.teachers.cache.location)
    assert folders[0] != folders[1]
    assert folders[0] == folders[2]


def test_killed_while_it_was_written(on_disk, tmp_path):
    """Stopped in its second epoch, and a file is truncated: the resumed run
    uses the rest."""

    @HOOKS.register_module(force=True)
    class StopHook(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter + 1 == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    images, whole = _train(on_disk('whole'))
    shutil.rmtree(tmp_path / 'cache')
    cfg = on_disk('stopped')
    cfg.custom_hooks = [dict(type='StopHook')]
    with pytest.raises(SystemExit, match='iter_5.pth'):
        _train(cfg)
    file = next((tmp_path / 'cache').rglob('0-0-0-*.pt'))
    file.write_bytes(file.read_bytes()[:-20])
    cfg.custom_hooks = []
    cfg.resume = True
    resumed, weights = _train(cfg)
    _assert_equal(weights, whole)
    # Batches of 8, 8 and 4: the last one of the second epoch, and the
    # truncated one.
    checked = images - 2 * 20
    assert resumed == checked + 4 + 8
    assert _train(on_disk('again'))[0] == checked


def test_on_a_disk_that_is_full(make, on_disk, monkeypatch):
    _, in_memory = _train(make('memory', 'sskd', 2))

    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, 'write_bytes', full)
    _, weights = _train(on_disk('full'))
    _assert_equal(weights, in_memory)


@pytest.mark.parametrize('limit, free, says', [
    (1e-9, 2**40, r'train_cfg.cache_limit=1e-09 GiB leaves 0.00 GiB'),
    (50, 1000, r'the disk of .* has 0.00 GiB free'),
])
def test_too_little_room(on_disk, tmp_path, monkeypatch, limit, free, says):
    monkeypatch.setattr('shutil.disk_usage',
                        lambda path: SimpleNamespace(free=free))
    with pytest.raises(ValueError, match=says) as error:
        _train(on_disk('run', cache_limit=limit))
    assert 'fewer cached_passes' in str(error.value)
    assert not (tmp_path / 'cache').exists()


def test_what_a_cache_costs_is_told_before(on_disk, tmp_path):
    cfg = on_disk('run')
    cfg.log_level = 'INFO'
    loop = Runner.from_cfg(cfg).train_loop
    loop.run()
    (log, ) = (tmp_path / 'run').rglob('*.log')
    text = log.read_text()
    gib = re.search(r'about ([\d.]+) GiB for 2 passes of mimic/joint',
                    text)
    size = sum(file.stat().st_size for file in _files(tmp_path / 'cache'))
    assert float(gib[1]) == pytest.approx(size / 2**30, abs=5e-3)
    assert re.search(r'saves [\d.]+ GFLOPs of the teachers per', text)


def test_a_folder_for_nothing(on_disk):
    with pytest.raises(ValueError, match='no phase has any: write e.g. mimic'):
        Runner.from_cfg(on_disk('off', passes=0)).train_loop
