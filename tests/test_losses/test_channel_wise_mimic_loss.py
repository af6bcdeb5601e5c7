# Copyright (c) sskd_mm authors. All rights reserved.
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


def test_by_hand():
    # One channel of two positions. The teacher's logits 0 and log 3 are the
    # distribution (1/4, 3/4), the student's equal ones are (1/2, 1/2).
    teacher = torch.tensor([0., math.log(3)]).view(1, 1, 1, 2)
    student = torch.tensor([5., 5.]).view(1, 1, 1, 2)
    expected = math.log(0.5) / 4 + math.log(1.5) * 3 / 4
    loss = MODELS.build(dict(type='ChannelWiseMimicLoss'))
    assert loss(student, teacher).item() == pytest.approx(expected)
    # The temperature divides the logits and its square multiplies the loss.
    loss = MODELS.build(dict(type='ChannelWiseMimicLoss', tau=2.))
    assert loss(2 * student, 2 * teacher).item() == pytest.approx(4 * expected)


@pytest.mark.parametrize('tau', [1., 4.])
def test_against_loops(tau):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    expected = 0
    for n, c in np.ndindex(2, 3):
        s, t = np.exp(student[n, c] / tau), np.exp(teacher[n, c] / tau)
        s, t = s / s.sum(), t / t.sum()
        for y, x in np.ndindex(4, 5):
            expected += t[y, x] * np.log(t[y, x] / s[y, x])
    expected *= tau**2 / (2 * 3)
    loss = MODELS.build(dict(type='ChannelWiseMimicLoss', tau=tau))
    value = loss(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(expected)


def test_shift_of_each_channel_does_not_count():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.double)
    loss = MODELS.build(dict(type='ChannelWiseMimicLoss'))
    expected = loss(student, teacher)
    shift = torch.randn(2, 3, 1, 1).double()
    torch.testing.assert_close(loss(student + shift, teacher), expected)
    torch.testing.assert_close(loss(student, teacher + shift), expected)


def test_strong_activations_stay_finite():
    # exp(1000) overflows, and the probability of the rest is 0.
    teacher = torch.zeros(1, 1, 2, 2)
    teacher[0, 0, 0, 0] = 1000
    student = teacher.flip(3).requires_grad_()
    value = MODELS.build(dict(type='ChannelWiseMimicLoss'))(student, teacher)
    assert value.item() == pytest.approx(1000)
    value.backward()
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize('tau', [0, -1.])
def test_tau_must_be_positive(tau):
    with pytest.raises(ValueError, match=f'tau is {tau}; .* positive'):
        MODELS.build(dict(type='ChannelWiseMimicLoss', tau=tau))


@pytest.mark.parametrize('shape', [(4, 3), (4, 1, 3), (4, 3, 1, 1)])
def test_one_position_is_refused(shape):
    loss = MODELS.build(dict(type='ChannelWiseMimicLoss'))
    with pytest.raises(
            ValueError, match=r'\(4, .*3.*a single position.*Leave the tap'):
        loss(torch.rand(shape), torch.rand(shape))
