# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


@pytest.fixture
def loss():
    return MODELS.build(dict(type='FSPMimicLoss'))


def gram(before, after):
    """The formula in loops, for one sample."""
    matrix = np.zeros((len(before), len(after)))
    height, width = after.shape[1:]
    for i, j in np.ndindex(matrix.shape):
        for y, x in np.ndindex(height, width):
            matrix[i, j] += before[i, y, x] * after[j, y, x]
    return matrix / (height * width)


def test_by_hand(loss):
    # One sample, one channel before and two after, two positions. The
    # student's matrix is ((1 * 1 + 2 * 0) / 2, (1 * 3 + 2 * 1) / 2), the
    # teacher's ((2 * 1 + 0 * 4) / 2, (2 * 0 + 0 * 1) / 2): (0.5, 2.5) and
    # (1, 0).
    student = torch.tensor([[1., 0.], [3., 1.]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[1., 4.], [0., 1.]]).view(1, 2, 1, 2)
    student_before = torch.tensor([1., 2.]).view(1, 1, 1, 2)
    teacher_before = torch.tensor([2., 0.]).view(1, 1, 1, 2)
    value = loss(student, teacher, student_before, teacher_before)
    assert value.item() == pytest.approx((0.25 + 6.25) / 2)


@pytest.mark.parametrize('factor', [1, 2])
def test_against_loops(loss, factor):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    before = rng.standard_normal((2, 2, 6, 4 * factor, 5 * factor))
    pooled = np.zeros((2, 2, 6, 4, 5))
    for i in np.ndindex(2, 2, 6, 4, 5):
        y, x = i[3] * factor, i[4] * factor
        pooled[i] = before[i[:3]][y:y + factor, x:x + factor].max()
    expected = 0
    for n in range(2):
        difference = gram(pooled[0, n], student[n]) - gram(
            pooled[1, n], teacher[n])
        expected += (difference**2).sum() / difference.size
    value = loss(*map(torch.tensor, (student, teacher, *before)))
    assert value.item() == pytest.approx(expected / 2)


def test_order_of_positions_does_not_count(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.double)
    befores = torch.randn(2, 2, 6, 4, 5, dtype=torch.double)
    expected = loss(student, teacher, *befores)
    moved = loss(
        student.flip(2, 3), teacher, befores[0].flip(2, 3), befores[1])
    torch.testing.assert_close(moved, expected)
    assert not torch.isclose(
        loss(student.flip(2, 3), teacher, *befores), expected)


def test_perfect_copy(loss):
    after, before = torch.rand(2, 3, 4, 4), torch.rand(2, 6, 8, 8)
    assert loss(after, after, before, before).item() == 0


def test_both_taps_get_gradients(loss):
    torch.manual_seed(0)
    student = torch.rand(2, 3, 4, 4, requires_grad=True)
    before = torch.rand(2, 6, 8, 8, requires_grad=True)
    loss(student, torch.rand(2, 3, 4, 4), before, torch.rand(2, 6, 8,
                                                             8)).backward()
    assert student.grad.abs().min() > 0
    # One of each 2 x 2 is the largest.
    assert (before.grad != 0).sum().item() == 2 * 6 * 4 * 4


def test_smaller_before(loss):
    """It counts as if each value were repeated."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    befores = torch.randn(2, 2, 6, 2, 2)
    repeated = befores.repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(
        loss(student, teacher, *befores), loss(student, teacher, *repeated))


def test_asks_for_the_tap_before(loss):
    assert loss.uses_previous_tap is True


def test_shapes_of_the_taps_before_must_agree(loss):
    after = torch.rand(2, 3, 4, 4)
    with pytest.raises(
            ValueError, match=r'\(2, 6, 8, 8\).*\(2, 5, 8, 8\).*adapter'):
        loss(after, after, torch.rand(2, 6, 8, 8), torch.rand(2, 5, 8, 8))


@pytest.mark.parametrize('shape', [(1, 6, 8, 8), (2, 64, 6)])
def test_taps_must_be_of_one_kind(loss, shape):
    after, before = torch.rand(2, 3, 4, 4), torch.rand(shape)
    with pytest.raises(
            ValueError, match=r'previous.*6.*\(2, 3, 4, 4\) differ in kind'):
        loss(after, after, before, before)
