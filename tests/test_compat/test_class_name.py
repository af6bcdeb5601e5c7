# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmdet.models import ResNet as DetResNet
from mmpretrain.models import ResNet as ClsResNet

from sskd_mm.compat import class_name
from sskd_mm.losses import L2MimicLoss


@pytest.mark.parametrize('names, scope', [
    (('SGD', 'torch.optim.SGD', 'torch.optim.sgd.SGD', torch.optim.SGD),
     'mmdet'),
    (('BN', 'BN2d', torch.nn.BatchNorm2d), None),
    (('ResNet', 'mmdet.ResNet', 'mmdet.models.ResNet', DetResNet), 'mmdet'),
    (('ResNet', 'mmpretrain.ResNet', ClsResNet), 'mmpretrain'),
    (('L2MimicLoss', 'mmengine.L2MimicLoss', L2MimicLoss), 'mmpretrain'),
])
def test_names_of_one_class(names, scope):
    (name, ) = {class_name(each, scope) for each in names}
    assert name.endswith(f'.{names[-1].__name__}')


def test_names_of_two_classes():
    assert class_name('ResNet', 'mmdet') != class_name('ResNet', 'mmpretrain')
    assert class_name('mmpretrain.ResNet', 'mmdet') == class_name(ClsResNet)


@pytest.mark.parametrize('name', ['Nothing', 'mmdet.Nothing', 'no.such.thing'])
def test_what_nobody_knows(name):
    assert class_name(name, 'mmdet') == name
