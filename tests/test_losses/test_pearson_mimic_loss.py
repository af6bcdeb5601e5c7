# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


@pytest.fixture
def loss():
    return MODELS.build(dict(type='PearsonMimicLoss'))


def test_by_hand(loss):
    # One channel: (0, 2) and (5, 3) both have standard deviation 1, so they
    # become (-1, 1) and (1, -1): half the mean square of (-2, 2) is 2.
    student = torch.tensor([0., 2.]).view(1, 1, 1, 2)
    teacher = torch.tensor([5., 3.]).view(1, 1, 1, 2)
    assert loss(student, teacher).item() == pytest.approx(2)
    # A second, equal channel makes it (2 + 0) / 2.
    student = torch.cat([student, teacher], 1)
    teacher = torch.cat([teacher, teacher], 1)
    assert loss(student, teacher).item() == pytest.approx(1)


def test_against_loops(loss):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    m = 2 * 4 * 5
    squared = unbiased = correlation = 0
    for c in range(3):
        s, t = student[:, c].ravel(), teacher[:, c].ravel()
        correlation += np.corrcoef(s, t)[0, 1] / 3
        s, t = s - s.sum() / m, t - t.sum() / m
        for s_p, t_p in zip(s, t):
            squared += (s_p / np.sqrt((s @ s) / m) - t_p / np.sqrt(
                (t @ t) / m))**2
            unbiased += (s_p / np.sqrt((s @ s) / (m - 1)) - t_p / np.sqrt(
                (t @ t) / (m - 1)))**2
    value = loss(torch.tensor(student), torch.tensor(teacher)).item()
    assert value == pytest.approx(squared / (2 * 3 * m))
    assert value == pytest.approx(1 - correlation)
    assert value * (m - 1) / m == pytest.approx(unbiased / (2 * 3 * m))


def test_scale_and_shift_of_each_channel_do_not_count(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.double)
    expected = loss(student, teacher)
    scale = torch.tensor([1e-4, 3., 1e4]).view(3, 1, 1).double()
    shift = torch.tensor([0.1, -2., 50.]).view(3, 1, 1).double()
    torch.testing.assert_close(
        loss(scale * student + shift, teacher), expected)
    torch.testing.assert_close(
        loss(student, scale * teacher + shift), expected)
    assert loss(-student, student).item() == pytest.approx(2)


# 0.3 and 1234.5 are no sums of few powers of 2, so their mean is rounded.
@pytest.mark.parametrize('constant', [0., 0.3, 1234.5])
def test_constant_channel(loss, constant):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 7, 11)
    student[:, 0] = constant
    student.requires_grad_()
    # Both others are perfect.
    teacher[:, 1:] = student.detach()[:, 1:]
    assert loss(student, teacher).item() == pytest.approx(0.5 / 3, rel=1e-4)
    grad, = torch.autograd.grad(loss(student, teacher.flip(3)), student)
    assert grad[:, 0].abs().max() == 0
    assert grad[:, 1:].abs().min() > 0
