# Copyright (c) sskd_mm authors. All rights reserved.
"""A classifier's config in MMEngine's new style."""

BASE = '''
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import SGD

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.05, momentum=0.9, weight_decay=1e-4))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=20)
'''
STUDENT = '''
from mmcv.transforms import LoadImageFromFile, Resize
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook
from mmengine.runner import ValLoop
from mmpretrain.datasets import CustomDataset, PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import (ClsDataPreprocessor, GlobalAveragePooling,
                               ImageClassifier, LinearClsHead, ResNet_CIFAR)

with read_base():
    from ._base_.schedule import *

default_scope = 'mmpretrain'
warmup = 500
model = dict(
    type=ImageClassifier,
    data_preprocessor=dict(
        type=ClsDataPreprocessor, mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type=ResNet_CIFAR, depth=18, base_channels=8, stem_channels=8),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=10, in_channels=64))
train_dataloader = dict(
    batch_size=8, num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=CustomDataset, data_root=DATA + '/train', pipeline=[
            dict(type=LoadImageFromFile), dict(type=Resize, scale=32),
            dict(type=PackInputs)]))
val_dataloader = dict(
    batch_size=8, num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=CustomDataset, data_root=DATA + '/val', pipeline=[
            dict(type=LoadImageFromFile), dict(type=Resize, scale=32),
            dict(type=PackInputs)]))
val_cfg = dict(type=ValLoop)
val_evaluator = dict(type=Accuracy, topk=(1, ))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=1))
'''


def write_new_style(folder, images):
    """Write the config of a ResNet-18 for 10 classes.

    Args:
        folder (Path): Where to.
        images (Path): Has train/ and val/, with a folder for each class.

    Returns:
        Path: ``folder/student.py``, with a base in ``folder/_base_``.
    """
    (folder / '_base_').mkdir(parents=True)
    (folder / '_base_/schedule.py').write_text(BASE)
    path = folder / 'student.py'
    path.write_text(STUDENT.replace('DATA', repr(str(images))))
    return path
