# Copyright (c) sskd_mm authors. All rights reserved.
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


def build(**options):
    return MODELS.build(dict(type='ContrastiveMimicLoss', **options))


def info_nce(student, teacher, temperature):
    """The formula in loops, for lists of vectors."""
    total = 0
    for i, s in enumerate(student):
        similar = [
            np.exp(s @ t / np.sqrt((s @ s) * (t @ t)) / temperature)
            for t in teacher
        ]
        total -= np.log(similar[i] / sum(similar))
    return total / len(student)


def test_by_hand():
    # Two samples. The cosines to the teacher's (1, 0) and (0, 1) are 1 and 0
    # for the first, 0.6 and 0.8 for the second.
    student = torch.tensor([[2., 0.], [3., 4.]])
    teacher = torch.tensor([[5., 0.], [0., 1.]])
    for temperature in (0.1, 0.5):
        expected = (math.log(1 + math.exp((0 - 1) / temperature)) +
                    math.log(1 + math.exp((0.6 - 0.8) / temperature))) / 2
        loss = build(temperature=temperature)
        assert loss(student, teacher).item() == pytest.approx(
            expected, rel=1e-5)


@pytest.mark.parametrize('temperature', [0.1, 1.])
def test_samples_against_loops(temperature):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 4, 3, 4, 5))
    expected = info_nce(
        [sum(s[:, y, x] for y, x in np.ndindex(4, 5)) / 20 for s in student],
        [sum(t[:, y, x] for y, x in np.ndindex(4, 5)) / 20
         for t in teacher], temperature)
    value = build(temperature=temperature)(torch.tensor(student),
                                           torch.tensor(teacher))
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize('temperature', [0.1, 1.])
def test_positions_against_loops(temperature):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    places = list(np.ndindex(2, 4, 5))
    expected = info_nce([student[n, :, y, x] for n, y, x in places],
                        [teacher[n, :, y, x] for n, y, x in places],
                        temperature)
    value = build(
        temperature=temperature, over='positions')(torch.tensor(student),
                                                   torch.tensor(teacher))
    assert value.item() == pytest.approx(expected)


def test_goes_from_student_to_teacher():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 8, 3, dtype=torch.double)
    loss = build()
    assert not torch.isclose(loss(student, teacher), loss(teacher, student))


def test_scale_does_not_count():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 4, 5, dtype=torch.double)
    for over in ('samples', 'positions'):
        loss = build(over=over)
        expected = loss(student, teacher)
        torch.testing.assert_close(loss(1e4 * student, teacher), expected)
        torch.testing.assert_close(loss(student, 1e-4 * teacher), expected)


def test_perfect_student_beats_a_confused_one():
    torch.manual_seed(0)
    teacher = torch.randn(8, 16)
    loss = build()
    confused = torch.randn(1, 16).expand(8, 16)
    assert loss(teacher, teacher) < 0.1
    assert loss(teacher.roll(1, 0), teacher) > math.log(8)
    assert loss(confused, teacher) > math.log(8) - 1e-4
    silent = loss(torch.zeros(8, 16), teacher)
    assert silent.item() == pytest.approx(math.log(8))


def test_silent_vector_gets_no_gradient():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3)
    student[0] = 0
    student.requires_grad_()
    grad, = torch.autograd.grad(build()(student, teacher), student)
    assert grad[0].abs().max() == 0
    assert grad[1:].abs().min() > 0


def test_single_sample():
    student, teacher = torch.randn(2, 1, 3, 4, 4)
    assert build()(student, teacher).item() == pytest.approx(0, abs=1e-6)
    assert build(over='positions')(student, teacher) > 0


@pytest.mark.parametrize('shape, limit',
                         [((2, 3, 8, 8), 16), ((3, 3, 5, 7), 20),
                          ((4, 64, 3), 32), ((2, 3, 4, 4), 32),
                          ((2, 3, 4, 4), 31)])
def test_subsample_of_positions(shape, limit):
    student = torch.randn(shape, requires_grad=True)
    loss = build(over='positions', max_positions=limit)
    loss(student, torch.randn(shape)).backward()
    channels = 1 if len(shape) == 4 else 2
    used = (student.grad != 0).any(channels)
    # (N, H, W), or (N, L) for tokens
    taken = used.flatten().nonzero().flatten().tolist()
    assert len(taken) <= limit
    assert len(taken) >= min(used.numel(), limit // 3)
    assert len({b - a for a, b in zip(taken, taken[1:])}) == 1
    assert used.flatten(1).any(1).all()  # from each sample
    if limit >= used.numel():
        assert used.all()
    if used.dim() == 3:  # from each column
        assert used.flatten(0, 1).any(0).all()
    else:  # from each column of the 8 x 8 map the tokens may have been
        assert used.view(-1, 8).any(0).all()


def test_bad_options():
    with pytest.raises(ValueError, match='temperature is 0; .* positive'):
        build(temperature=0)
    with pytest.raises(ValueError, match="over is 'pixels'; .*'samples' or"):
        build(over='pixels')
    with pytest.raises(ValueError, match='max_positions is 1; .* at least 2'):
        build(max_positions=1)
