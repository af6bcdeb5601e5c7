# Copyright (c) sskd_mm authors. All rights reserved.
"""Checkpoints that hold an argparse.Namespace, as RepDistiller's and timm's:
each tool refuses one and takes it where it is named."""
import argparse

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.compat import UntrustedCheckpointError, allow_pickle
from sskd_mm.models import build_model

PLAIN = 'configs/digits/small.py'
DISTILLED = 'configs/digits/distilled.py'
TOOLS = [
    'train', 'test', 'face_eval', 'export_onnx', 'report',
    'analysis_tools/alignment', 'analysis_tools/benchmark',
    'analysis_tools/complexity', 'analysis_tools/feature_maps',
    'model_converters/cifar_to_mmpretrain',
    'model_converters/insightface_to_mmpretrain',
    'model_converters/timm_to_mmpretrain',
    'model_converters/torchvision_to_mmpretrain'
]


@pytest.fixture(autouse=True)
def in_project(own_project, monkeypatch):
    monkeypatch.chdir(own_project)
    yield
    allow_pickle([])


@pytest.fixture
def with_namespace(tmp_path):

    def save(weights, name='trained.pth', key='state_dict'):
        path = tmp_path / name
        torch.save({
            key: weights,
            'opt': argparse.Namespace(lr=.1),
            'epoch': 3
        }, path)
        return path

    return save


@pytest.fixture
def weights():
    model = build_model(Config.fromfile(PLAIN))
    torch.manual_seed(0)
    model.init_weights()
    return model.state_dict()


def check(call, path):
    with pytest.raises(
            UntrustedCheckpointError, match=f'--allow-pickle {path}'):
        call()
    with pytest.raises(UntrustedCheckpointError):
        call('--allow-pickle', 'other.pth', f'{path}.bak')
    call('--allow-pickle', 'other.pth', path)


@pytest.mark.parametrize('tool', TOOLS)
def test_one_option(call_tool, capsys, tool):
    with pytest.raises(SystemExit):
        call_tool(f'tools/{tool}.py', '--help')
    assert '--allow-pickle FILE [FILE ...]' in ' '.join(
        capsys.readouterr().out.split())


def test_test(call_tool, with_namespace, weights, tmp_path):
    path = with_namespace(weights)
    check(
        lambda *options: call_tool('tools/test.py', PLAIN, path, '--work-dir',
                                   tmp_path / 'run', *options), path)


@pytest.mark.parametrize('command', [
    ('benchmark', PLAIN, '--checkpoint', 'FILE', '--repeats', 1),
    ('complexity', DISTILLED, '-o', 'OUT', '--cfg-options',
     'model.teacher.cfg=configs/digits/small.py',
     'model.teacher.checkpoint=FILE'),
], ids=lambda command: command[0])
def test_analysis_tools(call_tool, with_namespace, weights, tmp_path, command):
    path = with_namespace(weights)
    tool, *args = [
        str(x).replace('FILE', str(path)).replace('OUT',
                                                  str(tmp_path / 'x.png'))
        for x in command
    ]
    check(
        lambda *options: call_tool(f'tools/analysis_tools/{tool}.py', *args,
                                   *options), path)


def test_export(call_tool, classifier_cfg, with_namespace, tmp_path):
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(package)
    cfg = classifier_cfg(tmp_path, dict(type='CIFARResNet', depth=8), 64)
    cfg.dump(tmp_path / 'plain.py')
    path = with_namespace(build_model(cfg).state_dict())
    check(
        lambda *options: call_tool('tools/export_onnx.py', tmp_path /
                                   'plain.py', path, '-o', tmp_path /
                                   'x.onnx', '--size', 32, 32, *options), path)


def test_converters(call_tool, root, with_namespace, tmp_path):
    """A file as RepDistiller saves it."""
    config = root / 'configs/_base_/models/cifar_resnet20.py'
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    weights = {
        k.replace('backbone.', '').replace('head.', ''): v
        for k, v in model.state_dict().items()
    }
    path = with_namespace(weights, 'ckpt_epoch_240.pth', 'model')
    check(
        lambda *options: call_tool(
            'tools/model_converters/cifar_to_mmpretrain.py', config, path,
            tmp_path / 'out.pth', *options), path)
    found = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert found['state_dict'].keys() == model.state_dict().keys()


def test_beside_those_of_the_config(call_tool, with_namespace, weights,
                                    own_project):
    """The command line adds to the config's own list."""
    teacher = torch.load(
        own_project / 'checkpoints/large.pth', weights_only=True)
    teacher = with_namespace(teacher['state_dict'], 'teacher.pth')
    student = with_namespace(weights)
    named = [
        '--cfg-options', f'model.teacher.checkpoint={teacher}',
        f'allow_pickle=[{teacher}]'
    ]
    command = ('tools/analysis_tools/feature_maps.py', DISTILLED, student,
               '-o', student.with_suffix('.png'), '--images', 1,
               '--allow-pickle', student)
    with pytest.raises(UntrustedCheckpointError, match='teacher.pth'):
        call_tool(*command, *named[:2])
    call_tool(*command, *named)
