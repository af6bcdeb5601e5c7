# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.registry import MODELS


@pytest.fixture
def loss():
    return MODELS.build(dict(type='NSTMimicLoss'))


def test_by_hand(loss):
    # Two positions. Unit channels: the student's (1, 0) and (0, 1), the
    # teacher's (0.6, 0.8). Kernels: within the student (1 + 0 + 0 + 1) / 4,
    # within the teacher 1, between (0.36 + 0.64) / 2.
    student = torch.tensor([[2., 0.], [0., 7.]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[3., 4.]]).view(1, 1, 1, 2)
    assert loss(student, teacher).item() == pytest.approx(0.5 + 1 - 2 * 0.5)


def test_number_and_order_of_channels_do_not_count(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 6, 4, 4, dtype=torch.double)
    expected = loss(student, teacher)
    torch.testing.assert_close(loss(student.flip(1), teacher), expected)
    torch.testing.assert_close(
        loss(student.repeat(1, 3, 1, 1), teacher), expected)
    assert loss(student.repeat(1, 3, 1, 1), student).abs() < 1e-12


def test_one_position(loss):
    with pytest.raises(ValueError, match='a single position, .* no pattern'):
        loss(torch.rand(2, 3, 1, 1), torch.rand(2, 3, 1, 1))
