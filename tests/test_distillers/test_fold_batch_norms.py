# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

from sskd_mm.distillers import fold_batch_norms


def _settle(model):
    """Statistics and weights as of a trained network."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, .5, 2)
                nn.init.uniform_(module.bias, -1, 1)
    model.eval()
    return model.requires_grad_(False)


def _norms(model):
    return sum(isinstance(m, _BatchNorm) for m in model.modules())


@pytest.mark.parametrize('cfg, size, left', [
    (dict(type='mmpretrain.ResNet', depth=50, out_indices=(0, 3)), 64, 0),
    (dict(type='CIFARResNet', depth=8, out_indices=(0, 2)), 32, 0),
    # Norms before convolutions, and one at the end behind a linear layer.
    (dict(type='IResNet', depth=18), 112, None),
    (dict(type='MobileFaceNet'), 112, None),
    (dict(type='WideResNet', depth=10, widen_factor=1), 32, None),
])
def test_features_stay(cfg, size, left):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = _settle(MODELS.build(cfg))
    images = torch.randn(2, 3, size, size)
    before, norms = model(images), _norms(model)
    folded = fold_batch_norms(model, lambda: model(images))
    assert folded > 0 and _norms(model) == norms - folded
    if left is not None:
        assert _norms(model) == left
    for x, y in zip(model(images), before):
        assert_close(x, y, rtol=1e-3, atol=1e-4 * float(y.abs().max()))


class _Odd(nn.Module):
    """Modules are registered in an order that they do not run in."""

    def __init__(self, order):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)
        self.order = order

    def forward(self, x):
        if self.order == 'norm first':
            return self.conv(self.bn(x))
        x = self.conv(x)
        if self.order == 'relu between':
            return self.bn(x.relu())
        if self.order == 'used twice':
            return self.bn(x) + x
        return self.bn(self.conv(x))  # runs twice


@pytest.mark.parametrize(
    'order', ['norm first', 'relu between', 'used twice', 'runs twice'])
def test_what_must_not_be_folded(order):
    model, images = _settle(_Odd(order)), torch.randn(2, 3, 4, 4)
    before = model(images)
    assert fold_batch_norms(model, lambda: model(images)) == 0
    assert _norms(model) == 1
    assert torch.equal(model(images), before)


def test_a_tap_before_the_norm():
    model = _settle(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    images = torch.randn(2, 3, 4, 4)
    assert fold_batch_norms(model, lambda: model(images), ['0']) == 0
    assert fold_batch_norms(model, lambda: model(images)) == 1
