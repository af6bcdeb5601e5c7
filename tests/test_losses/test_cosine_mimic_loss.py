# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


@pytest.fixture
def loss():
    return MODELS.build(dict(type='CosineMimicLoss'))


def test_by_hand(loss):
    # Two positions: the vectors (3, 4) and (4, 3) with cosine 24 / 25, then
    # (1, 0) and (0, 2) with cosine 0.
    student = torch.tensor([[3., 1.], [4., 0.]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[4., 0.], [3., 2.]]).view(1, 2, 1, 2)
    assert loss(student, teacher).item() == pytest.approx(1 - 0.96 / 2)
    assert loss(student, -student).item() == pytest.approx(2)


def test_against_loops(loss):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    cosines = []
    for n, y, x in np.ndindex(2, 4, 5):
        s, t = student[n, :, y, x], teacher[n, :, y, x]
        cosines.append(s @ t / np.sqrt((s @ s) * (t @ t)))
    value = loss(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(1 - np.mean(cosines))


def test_scale_of_each_position_does_not_count(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.double)
    expected = loss(student, teacher)
    scale = 10**torch.empty(2, 1, 4, 5).uniform_(-4, 4).double()
    torch.testing.assert_close(loss(scale * student, teacher), expected)
    torch.testing.assert_close(loss(student, scale * teacher), expected)


def test_silent_vector(loss):
    student = torch.ones(1, 3, 1, 4)
    student[..., 0] = 0
    student.requires_grad_()
    value = loss(student, torch.ones(1, 3, 1, 4))
    assert value.item() == pytest.approx(0.25)
    teacher = torch.tensor([1., 2., 3.]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    grad, = torch.autograd.grad(loss(student, teacher), student)
    assert grad[..., 0].abs().max() == 0
    assert grad[..., 1:].abs().min() > 0
