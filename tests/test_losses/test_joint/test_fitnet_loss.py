# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge


def _know(*features, names=('layer1', 'layer2', 'layer3')):
    x = torch.zeros(len(features[0]), 1)
    return Knowledge(features, x, x, names[:len(features)])


def _loss(student, teacher, **settings):
    torch.manual_seed(0)
    loss = MODELS.build(dict(type='FitNetLoss', **settings))
    loss.prepare(student, teacher, 100)
    return loss


@pytest.mark.parametrize('widths', [(3, 5), (4, 4)])
def test_against_the_formula(widths):
    """A 1x1 convolution, batch norm over the batch and ReLU, then the mean
    of squares; also where the widths agree."""
    rng = np.random.default_rng(0)
    s, t = (rng.normal(size=(6, c, 4, 4)) for c in widths)
    student, teacher = (_know(
        torch.zeros(6, 1, 8, 8), torch.tensor(x)) for x in (s, t))
    loss = _loss(student, teacher).double()
    weight = loss.regressor.conv.weight.detach().numpy()[:, :, 0, 0]
    x = np.einsum('dc,nchw->ndhw', weight, s)
    mean, var = (f(x, (0, 2, 3), keepdims=True) for f in (np.mean, np.var))
    x = np.maximum((x - mean) / np.sqrt(var + 1e-5), 0)
    value = loss(student, teacher, None, None)
    assert value.item() == pytest.approx(((x - t)**2).mean())


@pytest.mark.parametrize('size', [2, 8])
def test_other_resolutions(size):
    student = _know(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4))
    teacher = _know(
        torch.rand(2, 5, 4, 4), torch.full((2, 5, size, size), 0.5))
    loss = _loss(student, teacher)
    assert loss(student, teacher, None, None) > 0


@pytest.mark.parametrize('stage, index', [(0, 0), (-1, 2), ('layer2', 1)])
def test_stage(stage, index):
    student = _know(*torch.rand(3, 2, 3, 4, 4))
    teacher = _know(*(x for x in torch.rand(3, 2, 5, 4, 4)))
    loss = _loss(student, teacher, stage=stage)
    student.features[index].requires_grad_()
    loss(student, teacher, None, None).backward()
    assert student.features[index].grad.abs().sum() > 0
    assert sum(x.requires_grad for x in student.features) == 1


@pytest.mark.parametrize('stage', [2, -3, 'layer5'])
def test_no_such_stage(stage):
    pair = [_know(*torch.rand(2, 2, 3, 4, 4)) for _ in range(2)]
    with pytest.raises(ValueError, match=f'no stage {stage!r} among the 2 '
                       'stages layer1, layer2. Give the name'):
        _loss(*pair, stage=stage)


def test_no_map():
    pair = [_know(torch.rand(2, 3, 4, 4), torch.rand(2, 8)) for _ in range(2)]
    with pytest.raises(
            ValueError, match=r"student's feature .* 'layer2' .*\(2, 8\)"):
        _loss(*pair)
    _loss(*pair, stage=0)
