# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


def test_by_hand():
    # Two positions. The student's one channel (sqrt 3, -2) squared is the
    # map (3, 4), of length 5. The teacher's two channels (0, 2) and (0, -2)
    # make (0, 4), of length 4: ((3 / 5)^2 + (4 / 5 - 1)^2) / 2.
    student = torch.tensor([3.**0.5, -2.]).view(1, 1, 1, 2)
    teacher = torch.tensor([[0., 2.], [0., -2.]]).view(1, 2, 1, 2)
    loss = MODELS.build(dict(type='AttentionMimicLoss'))
    assert loss(student, teacher).item() == pytest.approx(0.2)
    # With power 1 (3, -4) is (3, 4) too.
    student = torch.tensor([3., -4.]).view(1, 1, 1, 2)
    loss = MODELS.build(dict(type='AttentionMimicLoss', power=1))
    assert loss(student, teacher).item() == pytest.approx(0.2)


@pytest.mark.parametrize('power', [1, 2, 3])
def test_against_loops(power):
    rng = np.random.default_rng(0)
    student = rng.standard_normal((2, 3, 4, 5))
    teacher = rng.standard_normal((2, 6, 4, 5))
    expected = 0
    for n in range(2):
        maps = []
        for feature in (student[n], teacher[n]):
            attention = np.zeros(20)
            for i, (y, x) in enumerate(np.ndindex(4, 5)):
                for channel in feature:
                    attention[i] += abs(channel[y, x])**power / len(feature)
            maps.append(attention / np.sqrt(attention @ attention))
        expected += ((maps[0] - maps[1])**2).sum()
    loss = MODELS.build(dict(type='AttentionMimicLoss', power=power))
    value = loss(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(expected / (2 * 4 * 5))


def test_what_does_not_count():
    torch.manual_seed(0)
    student = torch.randn(2, 3, 4, 5, dtype=torch.double)
    teacher = torch.randn(2, 6, 4, 5, dtype=torch.double)
    loss = MODELS.build(dict(type='AttentionMimicLoss'))
    expected = loss(student, teacher)
    scale = torch.tensor([1e-3, -1e3]).view(2, 1, 1, 1).double()
    for same in (scale * student, student.abs(), student.flip(1),
                 student.repeat(1, 2, 1, 1)):
        torch.testing.assert_close(loss(same, teacher), expected)
    assert loss(student.flip(3), teacher) != expected


def test_largest_value():
    student, teacher = torch.zeros(2, 1, 3, 4, 5)
    student[..., 0, 0], teacher[..., 1, 2] = 1, 1
    loss = MODELS.build(dict(type='AttentionMimicLoss'))
    assert loss(student, teacher).item() == pytest.approx(2 / 20)


def test_silent_sample():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5)
    student[0] = 0
    student.requires_grad_()
    value = MODELS.build(dict(type='AttentionMimicLoss'))(student, teacher)
    grad, = torch.autograd.grad(value, student)
    assert torch.isfinite(value)
    assert grad[0].abs().max() == 0
    assert grad[1].abs().min() > 0


@pytest.mark.parametrize('power', [0.5, 0])
def test_power_must_be_one_or_more(power):
    with pytest.raises(ValueError, match=f'power is {power}; .* at least 1'):
        MODELS.build(dict(type='AttentionMimicLoss', power=power))


@pytest.mark.parametrize('shape', [(3, 6, 4, 5), (2, 6, 5, 4), (2, 6, 20)])
def test_positions_must_agree(shape):
    loss = MODELS.build(dict(type='AttentionMimicLoss'))
    with pytest.raises(
            ValueError,
            match=r'\(2, 3, 4, 5\).*differ in more than channels.*adapter'):
        loss(torch.rand(2, 3, 4, 5), torch.rand(shape))


@pytest.mark.parametrize('shape', [(4, 3), (4, 1, 3), (4, 3, 1, 1)])
def test_one_position_is_refused(shape):
    loss = MODELS.build(dict(type='AttentionMimicLoss'))
    with pytest.raises(ValueError, match=r'\(4, .*3.*a single position'):
        loss(torch.rand(shape), torch.rand(shape))
