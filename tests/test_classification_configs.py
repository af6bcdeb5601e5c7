# Copyright (c) sskd_mm authors. All rights reserved.
"""The configs of CIFAR and ImageNet."""
import itertools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from shipped_schedule import check_schedule

from sskd_mm.distillers import lay_method_over
from sskd_mm.distillers.teacher import read_teacher_config

ROOT = Path(__file__).parent.parent / 'configs'
PLAIN = sorted(path for name in ('cifar10', 'cifar100')
               for path in (ROOT / 'baselines' / name).glob('*.py'))
CIFAR = sorted(path for name in ('cifar10', 'cifar100')
               for path in (ROOT / 'sskd' / name).glob('*.py'))
IMAGENET = sorted((ROOT / 'sskd/imagenet').glob('*.py'))
# All but their base and those of detectors, which compare necks.
METHODS = sorted(path.stem
                 for path in (ROOT / '_base_/methods').glob('*.py')
                 if path.stem != 'joint'
                 and Config.fromfile(path).model.get('stages') != ['neck'])
# CRD, arXiv 1910.10699, tables 1 and 2.
CRD_PAIRS = {
    'wrn_40_2_wrn_16_2', 'wrn_40_2_wrn_40_1', 'resnet56_resnet20',
    'resnet110_resnet20', 'resnet110_resnet32', 'resnet32x4_resnet8x4',
    'vgg13_vgg8', 'vgg13_mobilenet_v2', 'resnet50_mobilenet_v2',
    'resnet50_vgg8', 'resnet32x4_shufflenet_v1', 'resnet32x4_shufflenet_v2',
    'wrn_40_2_shufflenet_v1'
}


def _build(model):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(model)


def _teacher(cfg, path):
    """Random weights for the teacher."""
    model = read_teacher_config(cfg.model.teacher.cfg).model
    torch.manual_seed(0)
    weights = _build(model).state_dict()
    torch.save(dict(state_dict=weights), path)
    cfg.model.teacher.checkpoint = str(path)


def _plan(cfg, tmp_path):
    _teacher(cfg, tmp_path / 'teacher.pth')
    cfg.work_dir = str(tmp_path)
    for key in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{key}_{part}'] = None
    return Runner.from_cfg(cfg).train_loop


def test_all_pairs_are_there():
    names = {p.stem.removesuffix('_cifar100') for p in CIFAR}
    assert CRD_PAIRS < names
    assert names - CRD_PAIRS == {
        'resnet56_resnet20_cifar10', 'resnet56_resnet8_cifar10'
    }
    assert len(IMAGENET) == 3


@pytest.mark.parametrize('path', PLAIN, ids=lambda path: path.stem)
def test_plain(path):
    cfg = Config.fromfile(path)
    classes, epochs, batch = dict(
        cifar10=(10, 200, 128), cifar100=(100, 240, 64))[path.parent.name]
    model = _build(cfg.model).eval()
    assert model.head.num_classes == classes
    # The head reads what the backbone outputs.
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, classes)
    assert cfg.train_cfg.max_epochs == cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.data_preprocessor.num_classes == classes
    optimizer = cfg.optim_wrapper.optimizer
    depthwise = 'net_v' in path.stem
    assert optimizer.lr == (0.1 if classes == 10 else
                            0.01 if depthwise else 0.05)


@pytest.mark.parametrize('path', CIFAR, ids=lambda path: path.stem)
def test_cifar_pair_has_a_plan(path, cifar, tmp_path):
    cfg = Config.fromfile(path)
    check_schedule(path.stem, cfg)
    student = path.stem[len(Path(cfg.model.teacher.cfg).stem.rpartition('_')
                            [0]) + 1:]
    plain = Config.fromfile(ROOT / 'baselines' / path.parent.name /
                            f'{student}.py')
    assert cfg.model.student == plain.model
    assert cfg.train_dataloader == plain.train_dataloader
    # What training the teacher leaves, where it leaves it.
    name, epochs = Path(cfg.model.teacher.cfg).stem, plain.max_epochs
    assert cfg.model.teacher.checkpoint == (
        f'work_dirs/{name}/epoch_{epochs}.pth')
    cfg.train_dataloader.dataset.data_root = str(cifar)
    loop = _plan(cfg, tmp_path)
    assert [phase.name for phase in loop.phases] == [
        'mimic/joint', 'mimic/last', 'head'
    ]
    assert loop.phases[-1].end == epochs, 'as long as from scratch'
    *stages, neck = loop.phases[0].taps
    assert neck == 'neck' and len(stages) in (3, 4)
    siblings = 'backbone' in cfg.model.inherit
    assert loop.phases[1].taps == ('fc' if siblings else 'neck', )
    assert sorted(loop.distiller.partition.trainable(['head'])) == [
        'head.fc.bias', 'head.fc.weight'
    ]


@pytest.mark.parametrize('path', IMAGENET, ids=lambda path: path.stem)
def test_imagenet_pair_has_a_plan(path, classifier_cfg, tmp_path,
                                  monkeypatch):
    """With other images: nobody has ImageNet at hand."""
    cfg = Config.fromfile(path)
    check_schedule(path.stem, cfg)
    assert cfg.model.teacher.checkpoint.startswith('https://')
    cfg.train_dataloader = classifier_cfg(
        tmp_path, {}, 1, size=64).train_dataloader
    monkeypatch.setattr(
        'sskd_mm.engine.check_phases.check_num_classes',
        lambda *args: None)
    loop = _plan(cfg, tmp_path)
    assert loop.phases[-1].end == 100, 'as long as from scratch'
    assert len(loop.distiller.stages) == 5


@pytest.mark.parametrize('method', METHODS)
def test_methods_can_be_laid_over_a_pair(method, cifar, tmp_path):
    """And take a step in each of their phases."""
    cfg = Config.fromfile(ROOT /
                          'sskd/cifar100/resnet56_resnet20_cifar100.py')
    lay_method_over(cfg, str(ROOT / f'_base_/methods/{method}.py'))
    cfg.train_dataloader.dataset.data_root = str(cifar)
    loop = _plan(cfg, tmp_path)
    for phase in loop.phases:
        loop.enter_phase(phase)
        (batch, ) = itertools.islice(loop.dataloader, 1)
        loss = loop.distiller.train_step(batch, loop.runner.optim_wrapper)
        assert loss['loss'].isfinite()
