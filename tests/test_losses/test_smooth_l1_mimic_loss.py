# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS


def test_by_hand():
    student = torch.tensor([[1., 2.], [3., 4.]])
    teacher = torch.tensor([[1., 1.5], [0., 6.]])
    # The differences are 0, 0.5, 3 and -2. With beta 1 these make 0,
    # 0.25 / 2, 3 - 1 / 2 and 2 - 1 / 2; with beta 4 they make 0, 0.25 / 8,
    # 9 / 8 and 4 / 8.
    loss = MODELS.build(dict(type='SmoothL1MimicLoss'))
    wide = MODELS.build(dict(type='SmoothL1MimicLoss', beta=4.))
    assert loss(student, teacher).item() == pytest.approx(4.125 / 4)
    assert wide(student, teacher).item() == pytest.approx(1.65625 / 4)


@pytest.mark.parametrize('beta', [0.3, 1.])
def test_against_loops(beta):
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    expected = 0
    for s, t in zip(student.flat, teacher.flat):
        d = abs(s - t)
        expected += d * d / (2 * beta) if d < beta else d - beta / 2
    loss = MODELS.build(dict(type='SmoothL1MimicLoss', beta=beta))
    value = loss(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(expected / student.size)


def test_outliers_do_not_dominate():
    loss = MODELS.build(dict(type='SmoothL1MimicLoss'))
    student = torch.zeros(4, requires_grad=True)
    loss(student, torch.tensor([0.5, 1., 10., 1000.])).backward()
    torch.testing.assert_close(student.grad * 4,
                               torch.tensor([-0.5, -1., -1., -1.]))


@pytest.mark.parametrize('beta', [0, -1.])
def test_beta_must_be_positive(beta):
    with pytest.raises(ValueError, match=f'beta is {beta}; .* positive'):
        MODELS.build(dict(type='SmoothL1MimicLoss', beta=beta))
