# Copyright (c) sskd_mm authors. All rights reserved.
import math

import pytest
import torch
from mmengine.registry import MODELS

#: What each is at one position, of two channel vectors.
DISTANCES = dict(
    L2MimicLoss=lambda s, t: ((s - t)**2).mean(),
    SmoothL1MimicLoss=lambda s, t: torch.nn.SmoothL1Loss()(s, t),
    CosineMimicLoss=lambda s, t: 1 - s @ t / s.norm() / t.norm(),
    NormalizedL2MimicLoss=lambda s, t:
    ((s / s.norm() - t / t.norm())**2).sum())
each_loss = pytest.mark.parametrize('name', DISTANCES)


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(2, 2, 3, 4, 5, dtype=torch.double).unbind()


@pytest.fixture
def mask():
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[0, 1:3, :2] = mask[0, 3, 4] = True  # the second image has no objects
    return mask


def _mean(name, features, mask):
    student, teacher = (x.movedim(1, 3)[mask] for x in features)
    return sum(map(DISTANCES[name], student, teacher)) / len(student)


@each_loss
@pytest.mark.parametrize('share', [0, 0.3, 1])
def test_two_means(name, features, mask, share):
    loss = MODELS.build(dict(type=name, foreground=share))
    torch.testing.assert_close(
        loss(*features, mask), share * _mean(name, features, mask) +
        (1 - share) * _mean(name, features, ~mask))


@each_loss
def test_nothing_or_everything_is_foreground(name, features, mask):
    loss = MODELS.build(dict(type=name, foreground=0.3))
    every = torch.ones_like(mask)
    expected = _mean(name, features, every)
    torch.testing.assert_close(loss(*features, every), 0.3 * expected)
    torch.testing.assert_close(loss(*features, ~every), 0.7 * expected)
    student = features[0].clone().requires_grad_()
    loss(student, features[1], mask).backward()
    assert torch.isfinite(student.grad).all()


@each_loss
def test_without_it_a_mask_is_not_looked_at(name, features, mask):
    loss = MODELS.build(dict(type=name))
    assert loss(*features, mask) == loss(*features)
    torch.testing.assert_close(
        loss(*features), _mean(name, features, torch.ones_like(mask)))


def test_l2_over_the_energy(features, mask):
    loss = MODELS.build(
        dict(type='L2MimicLoss', normalize=True, foreground=0.5))
    student, teacher = features
    assert loss(torch.zeros_like(student), teacher, mask) == 1
    plain = MODELS.build(dict(type='L2MimicLoss', foreground=0.5))
    torch.testing.assert_close(
        loss(*features, mask),
        plain(*features, mask) / plain(0 * teacher, teacher, mask))
    # All weight is on what is not there.
    loss = MODELS.build(
        dict(type='L2MimicLoss', normalize=True, foreground=1))
    assert loss(*features, torch.zeros_like(mask)) == 0


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(name, features, mask, dtype):
    loss = MODELS.build(dict(type=name, foreground=0.5))
    halves = [(300 * x).to(dtype) for x in features]
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(*halves, mask)
    assert value.dtype == torch.float32
    assert value == loss(*[x.float() for x in halves], mask)


@pytest.mark.parametrize('share', [-0.1, 1.1, math.nan])
def test_no_share(share):
    with pytest.raises(ValueError, match=f'foreground is {share}; .*0 and 1'):
        MODELS.build(dict(type='L2MimicLoss', foreground=share))


@each_loss
def test_no_mask_that_fits(name, features, mask):
    loss = MODELS.build(dict(type=name, foreground=0.5))
    for wrong in (None, mask[:, 1:], mask[:1]):
        with pytest.raises(ValueError, match=r'foreground=0.5\) takes maps'):
            loss(*features, wrong)
