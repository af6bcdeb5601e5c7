# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


@pytest.fixture
def loss():
    return MODELS.build(dict(type='NormalizedL2MimicLoss'))


def test_by_hand(loss):
    # Two positions: (3, 4) / 5 and (4, 3) / 5 are 0.04 + 0.04 apart, then
    # (1, 0) and (0, 2) / 2 are 1 + 1 apart.
    student = torch.tensor([[3., 1.], [4., 0.]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[4., 0.], [3., 2.]]).view(1, 2, 1, 2)
    assert loss(student, teacher).item() == pytest.approx((0.08 + 2) / 2)


def test_against_loops(loss):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    distances = []
    for n, y, x in np.ndindex(2, 4, 5):
        s, t = student[n, :, y, x], teacher[n, :, y, x]
        d = s / np.sqrt(s @ s) - t / np.sqrt(t @ t)
        distances.append(d @ d)
    value = loss(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(np.mean(distances))


def test_is_twice_the_cosine_loss(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.double)
    cosine = MODELS.build(dict(type='CosineMimicLoss'))
    torch.testing.assert_close(
        loss(student, teacher), 2 * cosine(student, teacher))


def test_scale_of_each_position_does_not_count(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.double)
    expected = loss(student, teacher)
    scale = 10**torch.empty(2, 1, 4, 5).uniform_(-4, 4).double()
    torch.testing.assert_close(loss(scale * student, teacher), expected)
    torch.testing.assert_close(loss(student, scale * teacher), expected)


def test_silent_vector(loss):
    silent, loud = torch.zeros(1, 3, 2, 2), torch.rand(1, 3, 2, 2)
    assert loss(silent, silent).item() == 0
    assert loss(silent, loud).item() == pytest.approx(1)
    assert loss(loud, silent).item() == pytest.approx(1)
    student = loud.clone()
    student[..., 0, 0] = 0
    student.requires_grad_()
    grad, = torch.autograd.grad(loss(student, loud.flip(1)), student)
    assert grad[..., 0, 0].abs().max() == 0
    assert grad[..., 1, 1].abs().max() > 0
