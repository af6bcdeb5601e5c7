# Copyright (c) sskd_mm authors. All rights reserved.
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.compat import UntrustedCheckpointError, allow_pickle


class Stopped(Exception):
    pass


class StopHook(Hook):
    """Ends a run before its first epoch."""

    def before_train_epoch(self, runner):
        raise Stopped


class Hostile:

    def __reduce__(self):
        return os.mkdir, (self.path, )


@pytest.fixture
def start(distill_cfg, tmp_path):
    """Returns a function that starts a run, and gives its log and Runner."""

    def start(**options):
        cfg = distill_cfg(
            tmp_path / 'run',
            **{
                'train_cfg.evaluate_teacher': False,
                **options
            })
        runner = Runner.from_cfg(cfg)
        runner.register_hook(StopHook(), priority='LOWEST')
        with pytest.raises(Stopped):
            runner.train()
        return Path(runner._log_dir, f'{runner.timestamp}.log').read_text(
        ), runner

    yield start
    allow_pickle([])


@pytest.fixture(scope='module')
def weights(distill_cfg, tmp_path_factory):
    """The student's weights."""
    cfg = distill_cfg(tmp_path_factory.mktemp('student'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model.student).state_dict()


FROZEN = {'model.student.backbone.frozen_stages': 1}


def save(path, state_dict, **more):
    torch.save(dict(state_dict=state_dict, **more), path)
    return str(path)


def pretrained(path, **more):
    return {
        'model.student.backbone.init_cfg':
        dict(
            _delete_=True, type='Pretrained', checkpoint=path, **more)
    }


def test_load_from(start, weights, tmp_path):
    path = save(tmp_path / 'x.pth', weights)
    log, runner = start(load_from=path)
    student = runner.model.student.state_dict()
    assert all(torch.equal(student[k], v) for k, v in weights.items())
    n = sum(v.is_floating_point() for v in weights.values())
    assert f'student: {n} of {n} weights loaded from {path}. Not in the ' \
           'file and left as initialised: none.' in log
    assert re.search(r'teacher: all \d+ weights loaded from', log)


def test_load_from_a_part(start, weights, tmp_path):
    state = {k: v for k, v in weights.items() if 'roi_head' not in k}
    log, _ = start(load_from=save(tmp_path / 'x.pth', state))
    assert 'left as initialised: roi_head.' in log


CLASS_LAYERS = [
    f'roi_head.bbox_head.{layer}.{name}' for layer in ('fc_cls', 'fc_reg')
    for name in ('weight', 'bias')
]


def other_classes(weights, factor=8):
    """The same detector with more classes."""
    return {
        k: torch.cat([v] * factor) if k in CLASS_LAYERS else v
        for k, v in weights.items()
    }


def test_load_from_with_other_classes(start, weights, tmp_path):
    """mmdet's documented way to fine-tune."""
    path = save(tmp_path / 'x.pth', other_classes(weights))
    log, runner = start(load_from=path)
    for key in CLASS_LAYERS:
        assert f'\n  {key} ({weights[key].shape[0]},' in log
    student = runner.model.student.state_dict()
    for key, value in weights.items():
        assert torch.equal(student[key], value) == (key not in CLASS_LAYERS)
    assert log.count('stay as initialised') == 1


def test_pretrained_with_other_classes(start, weights, tmp_path):
    path = save(tmp_path / 'x.pth', other_classes(weights))
    log, _ = start(
        **{
            'model.student.init_cfg': dict(
                type='Pretrained', checkpoint=path)
        })
    assert f'\n  {CLASS_LAYERS[0]} (' in log


def test_load_from_with_a_part_of_a_layer(start, weights, tmp_path):
    key = 'roi_head.bbox_head.fc_cls.weight'
    path = save(tmp_path / 'x.pth', {
        **weights, key: torch.zeros(81, weights[key].shape[1])
    })
    with pytest.raises(ValueError, match=r'Another shape \(1\): '
                       rf'{key} \(81, ') as error:
        start(load_from=path)
    assert 'does not fit student:' in str(error.value)


def test_load_from_with_a_prefix(start, weights, tmp_path):
    path = save(tmp_path / 'x.pth', {f'model.{k}': v
                                     for k, v in weights.items()})
    with pytest.raises(ValueError) as error:
        start(load_from=path)
    text = str(error.value)
    assert "Its weights are under the prefix 'model.'" in text
    remedy = re.search(r'init_cfg=(dict\(.*\)) at student', text).group(1)
    log, runner = start(**{'model.student.init_cfg': eval(remedy)})
    key = 'backbone.conv1.weight'
    assert torch.equal(runner.model.student.state_dict()[key], weights[key])


def test_pretrained_backbone(start, weights, tmp_path):
    path = save(tmp_path / 'x.pth', weights)
    log, runner = start(**FROZEN, **pretrained(path, prefix='backbone.'))
    student = runner.model.student.state_dict()
    key = 'backbone.layer1.0.conv1.weight'
    assert torch.equal(student[key], weights[key])
    assert 'student.backbone: ' in log
    assert 'so they stay random' not in log
    assert not runner.model.student.backbone._load_state_dict_pre_hooks
    # A whole detector shares no key with a backbone.
    with pytest.raises(ValueError, match='0 of .*\nThe file has: backbone, '):
        start(**pretrained(path))


def test_frozen_and_never_loaded(start):
    """Plain mmdet trains behind a random stem without a word."""
    log, runner = start(**FROZEN)
    assert ('its config freezes backbone.conv1, backbone.bn1, '
            'backbone.layer1, but loads no weights') in log
    assert "stages='auto' leaves out backbone.layer1, which" in log
    assert list(runner.train_loop.distiller.stages)[0] == 'layer2'


@pytest.mark.parametrize('lost, message', [
    ('layer1.1.conv1.weight', 'file has other layers of the kind'),
    ('bn1.running_var', 'the rest of the layer is there'),
])
def test_pretrained_with_a_gap(start, weights, tmp_path, lost, message):
    state = {k: v for k, v in weights.items() if k != f'backbone.{lost}'}
    path = save(tmp_path / 'x.pth', state)
    with pytest.raises(ValueError, match=rf'{message} \(1\): {lost}'):
        start(**pretrained(path, prefix='backbone.'))


def test_pretrained_after_load_from_is_reported_as_well(
        start, weights, tmp_path):
    path = save(tmp_path / 'x.pth', weights)
    log, _ = start(load_from=path, **pretrained(path, prefix='backbone.'))
    assert log.count('weights loaded from') == 3


def test_a_stranger_s_pickle(start, weights, tmp_path, teacher_checkpoint):
    Hostile.path = str(tmp_path / 'it_ran')
    path = save(tmp_path / 'hostile.pth', weights, meta=Hostile())
    teacher = torch.load(teacher_checkpoint, weights_only=True)['state_dict']
    other = save(tmp_path / 'teacher.pth', teacher, meta=Hostile())
    ways = (dict(load_from=path), pretrained(path, prefix='backbone.'),
            dict(load_from=path, resume=True), {
                'model.teacher.checkpoint': other
            })
    for way in ways:
        # Trusting one file does not extend to others.
        with pytest.raises(UntrustedCheckpointError):
            start(allow_pickle=[teacher_checkpoint], **way)
    assert not os.path.exists(Hostile.path)
    start(allow_pickle=[path], **ways[0])
    assert os.path.exists(Hostile.path)
