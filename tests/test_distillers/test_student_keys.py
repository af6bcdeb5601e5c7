# Copyright (c) sskd_mm authors. All rights reserved.
"""A student's state-dict hooks work in a distiller as in the plain model."""
import copy
import json
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.model import ExponentialMovingAverage, MMDistributedDataParallel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner.checkpoint import get_state_dict
from mmpretrain.models import ImageClassifier
from torch import nn

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.distillers.student_keys import StudentKeys


class Net(nn.Module):

    def __init__(self, fill=0.):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.loss = nn.Linear(1, 1)
        with torch.no_grad():
            for tensor in (*self.parameters(), *self.buffers()):
                tensor.fill_(fill)

    def forward(self, x):
        return self.loss(self.model(x)[:, :1])


def add_prefix(state_dict, prefix, *args):
    """Like ``TimmClassifier`` and ``HuggingFaceClassifier``."""
    for key in list(state_dict):
        name = re.sub(f'^{prefix}', f'{prefix}model.', key)
        state_dict[name] = state_dict.pop(key)


class ReturnsAnother(Net):
    """Like the same two."""

    def __init__(self, fill=0.):
        super().__init__(fill)
        self._register_state_dict_hook(self._remove_prefix)
        self._register_load_state_dict_pre_hook(add_prefix)
        # These would become part of the model's keys.
        del self.loss

    def forward(self, x):
        return self.model(x)

    @staticmethod
    def _remove_prefix(module, state_dict, prefix, local_metadata):
        return OrderedDict((re.sub(f'^{prefix}model.', prefix, k), v)
                           for k, v in state_dict.items())


class ChangesInPlace(Net):
    """Relies on the plain model's keys, like mmdet's ``SingleStageDetector``,
    which loads an RPN's head."""

    def __init__(self, fill=0.):
        super().__init__(fill)
        self._register_state_dict_hook(self._rename)

    @staticmethod
    def _rename(module, state_dict, prefix, local_metadata):
        for key in [k for k in state_dict if k.startswith('loss.')]:
            state_dict[f'criterion.{key[5:]}'] = state_dict.pop(key)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for key in [k for k in state_dict if k.startswith('criterion.')]:
            state_dict[f'loss.{key[10:]}'] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


class SavesAPart(Net):
    """Like mmpretrain's ``LoRAModel``."""

    def __init__(self, fill=0.):
        super().__init__(fill)
        self._register_state_dict_hook(self._drop)
        self.register_load_state_dict_post_hook(self._forgive)

    @staticmethod
    def _drop(module, state_dict, prefix, local_metadata):
        for key in [k for k in state_dict if 'loss' not in k]:
            state_dict.pop(key)

    @staticmethod
    def _forgive(module, keys):
        for key in [k for k in keys.missing_keys if 'loss' not in k]:
            keys.missing_keys.remove(key)


class ReadsTheVersion(Net):
    """A module that relies on its prefix and on the saved version, like
    mmpretrain's ``SwinTransformer``."""

    def __init__(self, fill=0.):
        super().__init__(fill)
        self.model[1]._register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(state_dict, prefix, local_metadata, *args):
        assert local_metadata['version'] == 2
        for key in [k for k in state_dict if k.startswith('model.1.old_')]:
            state_dict[key.replace('old_', '')] = state_dict.pop(key)


class Distiller(StudentKeys):

    def __init__(self, student):
        super().__init__()
        self.student = student
        self.adapters = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x):
        return self.student(x)


STUDENTS = [Net, ReturnsAnother, ChangesInPlace, SavesAPart, ReadsTheVersion]


def in_ema(model):
    return ExponentialMovingAverage(model)


def in_a_module(model):
    outer = nn.Module()
    outer.part = nn.Module()
    outer.part.module = model
    return outer


def within(wrapped):
    return getattr(wrapped, 'part', wrapped).module


@pytest.fixture
def ddp():
    dist.init_process_group(
        'gloo', store=dist.HashStore(), rank=0, world_size=1)
    yield MMDistributedDataParallel
    dist.destroy_process_group()


def assert_equal(one, two):
    assert list(one) == list(two)
    assert all(torch.equal(one[k], two[k]) for k in one)


def raw(model):
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize('student', STUDENTS)
@pytest.mark.parametrize('save', [get_state_dict, nn.Module.state_dict])
def test_saved_as_by_itself(student, save):
    one = save(Distiller(student(1.)))
    plain = save(student(1.))
    assert_equal(one, plain)
    if student is not ReturnsAnother:  # which drops it
        assert one._metadata == plain._metadata
    kept = Distiller(student(1.)).state_dict(keep_vars=True)
    assert all(x.requires_grad == ('running' not in k and 'num' not in k)
               for k, x in kept.items())


@pytest.mark.parametrize('student', STUDENTS)
@pytest.mark.parametrize('how', ['torch', 'mmengine'])
def test_loaded_as_by_itself(student, how, tmp_path):
    state = student(1.).state_dict()
    if student is ReadsTheVersion:
        for key in [k for k in state if k.startswith('model.1.')]:
            state[key.replace('1.', '1.old_')] = state.pop(key)
    distiller, plain = Distiller(student()), student()
    for model in (distiller, plain):
        if how == 'torch':
            model.load_state_dict(state)
        else:
            path = str(tmp_path / 'x.pth')
            torch.save(dict(state_dict=state), path)
            load_checkpoint(model, path, strict=True)
    assert_equal(raw(distiller.student), raw(plain))
    assert dict(distiller.named_children()).keys() >= {'student', 'adapters'}
    # A tensor is assigned, not copied.
    distiller.load_state_dict(state, assign=True)
    taken = {x.data_ptr() for x in distiller.student.parameters()}
    assert taken & {x.data_ptr() for x in state.values()}


# Only a model, not its submodules, gets the version.
@pytest.mark.parametrize('student', STUDENTS[:-1])
@pytest.mark.parametrize('wrap', [in_ema, in_a_module, 'ddp'])
def test_within_another_module(student, wrap, ddp):
    wrap = ddp if wrap == 'ddp' else wrap
    wrapped = wrap(Distiller(student(1.)))
    state, plain = wrapped.state_dict(), student(1.).state_dict()
    prefix = 'part.module.' if wrap is in_a_module else 'module.'
    expected = {prefix + k: v for k, v in plain.items()}
    assert_equal({k: v for k, v in state.items() if k != 'steps'}, expected)
    other = wrap(Distiller(student()))
    other.load_state_dict(
        OrderedDict(expected, **({'steps': state['steps']}
                                 if 'steps' in state else {})))
    assert within(other).student is not within(wrapped).student
    if student is not SavesAPart:
        assert_equal(raw(within(other).student), raw(student(1.)))


def test_a_copy_loads_into_itself():
    """As made by ``EMAHook``."""
    distiller = Distiller(ReturnsAnother())
    twin = copy.deepcopy(distiller)
    twin.load_state_dict(ReturnsAnother(1.).state_dict())
    assert_equal(raw(twin.student), raw(ReturnsAnother(1.)))
    assert_equal(raw(distiller.student), raw(ReturnsAnother()))


@pytest.mark.parametrize('student', [Net, ReturnsAnother])
def test_what_does_not_fit_is_named_as_in_the_plain_model(student):
    state = student(1.).state_dict()
    first, *_, last = [k for k in state if k.endswith('weight')]
    state[first] = torch.ones(3, 2)
    del state[last]
    state['more.weight'] = torch.ones(1)
    messages = []
    for model in (student(), Distiller(student())):
        with pytest.raises(RuntimeError) as error:
            model.load_state_dict(state)
        messages.append(str(error.value).split('\n')[1:])
    assert messages[0] == messages[1] and len(messages[0]) == 3
    one, two = (
        model.load_state_dict({}, strict=False)
        for model in (Distiller(Net()), Net()))
    assert one == two


# --- From a training to the plain config ------------------------------------


@MODELS.register_module()
class HookedClassifier(ImageClassifier):
    """Has the hooks of ``HuggingFaceClassifier``, without needing its
    package."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._register_state_dict_hook(self._remove_prefix)
        self._register_load_state_dict_pre_hook(self._add_prefix)

    @staticmethod
    def _remove_prefix(module, state_dict, prefix, local_metadata):
        return OrderedDict((re.sub(f'^{prefix}backbone.', prefix, k), v)
                           for k, v in state_dict.items())

    @staticmethod
    def _add_prefix(state_dict, prefix, *args):
        for key in list(state_dict):
            if not key.startswith(f'{prefix}head'):
                name = f'{prefix}backbone.{key[len(prefix):]}'
                state_dict[name] = state_dict.pop(key)


def timm_classifier(cfg):
    timm = pytest.importorskip('timm')
    name = 'test_resnet'
    assert timm.is_model(name)
    cfg.model = dict(
        type='TimmClassifier', model_name=name, num_classes=10)
    return ['model.layer1', 'model.layer4']


def hooked_classifier(cfg):
    cfg.model.type = 'HookedClassifier'
    return ['backbone.layer1', 'backbone.layer4']


@pytest.mark.parametrize('use', [timm_classifier, hooked_classifier])
def test_trained_student_in_its_plain_config(classifier_cfg, use, tmp_path):
    resnet = dict(
        type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
    plain = classifier_cfg(tmp_path / 'plain', resnet, 32)
    stages = use(plain)
    cfg = copy.deepcopy(plain)
    cfg.work_dir = str(tmp_path / 'run')
    cfg.experiment_name += 'd'
    teacher = classifier_cfg(tmp_path, resnet, 32).model.to_dict()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for model, file in ((teacher, 'teacher'), (plain.model, 'start')):
            state = MODELS.build(copy.deepcopy(model)).state_dict()
            torch.save(dict(state_dict=state), tmp_path / f'{file}.pth')
    cfg.load_from = str(tmp_path / 'start.pth')
    cfg.model = dict(
        type='StageByStageDistiller',
        student=cfg.model,
        teacher=dict(cfg=teacher, checkpoint=str(tmp_path / 'teacher.pth')),
        stages=[
            dict(student=s, teacher=t)
            for s, t in zip(stages, ['backbone.layer1', 'backbone.layer4'])
        ])
    cfg.train_cfg = dict(
        type='StageByStageTrainLoop',
        schedule='joint',
        mimic=dict(max_epochs=1),
        head=dict(max_epochs=1),
        evaluate_teacher=False)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=.3)]
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    cfg.log_level = 'INFO'
    Runner.from_cfg(copy.deepcopy(cfg)).train()
    log, = Path(cfg.work_dir).glob('*/*.log')
    fit, total = re.search(r'student: (\d+) of (\d+) weights loaded',
                           log.read_text()).groups()
    assert fit == total

    # Its checkpoint loads in the plain config and scores the same.
    whole = str(tmp_path / 'whole.pth')
    (tmp_path / 'run/epoch_2.pth').rename(whole)
    plain.test_dataloader, plain.test_evaluator, plain.test_cfg = (
        plain.val_dataloader, plain.val_evaluator, dict())
    runner = Runner.from_cfg(plain)
    load_checkpoint(runner.model, whole, strict=True)
    result = json.loads((tmp_path / 'run/result.json').read_text())
    name = 'accuracy/top1'
    assert runner.test()[name] == result['student'][name]

    # A resumed run ends the same.
    cfg.resume, cfg.load_from = True, str(tmp_path / 'run/epoch_1.pth')
    cfg.experiment_name += 'r'
    Runner.from_cfg(cfg).train()
    assert_equal(*(load_checkpoint_file(file)['state_dict']
                   for file in (whole, str(tmp_path / 'run/epoch_2.pth'))))
