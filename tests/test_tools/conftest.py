# Copyright (c) sskd_mm authors. All rights reserved.
import importlib.util
import sys

import pytest
import torch
from mmengine.config import Config

from sskd_mm.datasets import make_digits_detection
from sskd_mm.models import build_model

PACKAGE = {
    '__init__.py': 'from . import datasets, models\n',
    'datasets.py': '''
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS


@DATASETS.register_module()
class Digits(CocoDataset):
    """Of the digits the first three alone."""

    METAINFO = dict(classes=('zero', 'one', 'two'))
''',
    'models.py': '''
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule


@MODELS.register_module()
class Plain(BaseModule):
    """Four strided convolutions."""

    def __init__(self, width, init_cfg=None):
        super().__init__(init_cfg)
        widths = [3, width, width, 2 * width, 4 * width]
        for i in range(4):
            self.add_module(f'stage{i + 1}', ConvModule(
                *widths[i:i + 2], 3, stride=2, padding=1,
                norm_cfg=dict(type='BN')))

    def forward(self, x):
        outs = []
        for i in range(4):
            x = getattr(self, f'stage{i + 1}')(x)
            outs.append(x)
        return tuple(outs[1:])
'''
}
DATA = '''
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs')]
train_dataloader = dict(
    batch_size=8, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='Digits', data_root='data/', pipeline=pipeline,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/')))
val_dataloader = dict(
    batch_size=8, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='Digits', data_root='data/', test_mode=True, pipeline=pipeline,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/')))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', ann_file='data/annotations/instances_val.json')
test_evaluator = val_evaluator
'''
CONFIG = '''
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py',
          'mmdet::_base_/default_runtime.py', '../_base_/digits.py']
custom_imports = dict(imports=['my_project'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(_delete_=True, type='Plain', width=WIDTH),
    neck=dict(in_channels=[WIDTH, 2 * WIDTH, 4 * WIDTH], out_channels=16,
              start_level=0, num_outs=3),
    bbox_head=dict(num_classes=3, in_channels=16, feat_channels=16,
                   anchor_generator=dict(octave_base_scale=2,
                                         strides=[4, 8, 16])))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10))
'''
#: All that is added to distil, in a file beside the student's config.
ADDED = '''
_base_ = './small.py'
custom_imports = dict(imports=['sskd_mm', 'my_project'])
model = dict(
    _delete_=True, type='StageByStageDistiller', student=_base_.model,
    teacher=dict(cfg='configs/digits/large.py',
                 checkpoint='checkpoints/large.pth'))
train_cfg = dict(
    _delete_=True, type='StageByStageTrainLoop', mimic=dict(max_epochs=1),
    head=dict(max_epochs=1), accept_weak_teacher=True)
'''


@pytest.fixture(scope='session')
def own_project(tmp_path_factory):
    """A user's project of mmdet: a package of its own with a registered data
    set and backbone, configs in a tree of its own, data, and a teacher."""
    root = tmp_path_factory.mktemp('own')
    make_digits_detection(
        root / 'data', num_train=16, num_val=8, image_size=64)
    for folder, files in {
            'my_project': PACKAGE,
            'configs/_base_': {'digits.py': DATA},
            'configs/digits': {
                'small.py': CONFIG.replace('WIDTH', '8'),
                'large.py': CONFIG.replace('WIDTH', '16'),
                'distilled.py': ADDED
            }
    }.items():
        (root / folder).mkdir(parents=True)
        for name, text in files.items():
            (root / folder / name).write_text(text)
    (root / 'checkpoints').mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        cfg = Config.fromfile(root / 'configs/digits/large.py')
        torch.manual_seed(0)
        model = build_model(cfg)
        model.init_weights()
        torch.save(
            dict(
                state_dict=model.state_dict(),
                meta=dict(dataset_meta=dict(classes=('zero', 'one', 'two')))),
            root / 'checkpoints/large.pth')
        yield root


@pytest.fixture
def call_tool(root, monkeypatch):
    """Calls a tool as a command line would, but in this process."""

    def call(path, *args):
        spec = importlib.util.spec_from_file_location('tool', root / path)
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        # Some tools set it.
        monkeypatch.setenv('LOCAL_RANK', '0')
        tool.main()

    return call


@pytest.fixture
def make(call_tool, own_project, monkeypatch):
    monkeypatch.chdir(own_project)

    def make(out, *args):
        call_tool('tools/make_config.py', *args, '-o', out)
        return Config.fromfile(out)

    return make


@pytest.fixture
def classifiers(classifier_cfg, tmp_path):
    """Configs of a ResNet-18 and a ResNet-50 that is the teacher."""
    for name, depth, channels in (('small', 18, 64), ('large', 50, 256)):
        backbone = dict(
            type='ResNet_CIFAR',
            depth=depth,
            base_channels=8,
            stem_channels=8,
            frozen_stages=1 if name == 'small' else -1)
        cfg = classifier_cfg(tmp_path / 'run', backbone, channels)
        cfg.train_cfg.max_epochs = 40
        cfg.dump(tmp_path / f'{name}.py')
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()), tmp_path / 'large.pth')
    return tmp_path
