# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge


def _know(logits):
    return Knowledge((), torch.zeros(len(logits), 1), logits)


def test_by_hand():
    # With T = 2 the teacher says (3/4, 1/4), the student (1/2, 1/2).
    loss = MODELS.build(dict(type='KDLoss', weight=1, temperature=2))
    teacher = torch.tensor([[2 * np.log(3), 0.]])
    value = loss(_know(torch.zeros(1, 2)), _know(teacher), None, None)
    assert value.item() == pytest.approx(
        4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5)))


@pytest.mark.parametrize('temperature', [1, 4])
def test_against_the_formula(temperature):
    loss = MODELS.build(
        dict(type='KDLoss', weight=1, temperature=temperature))
    rng = np.random.default_rng(0)
    z_s, z_t = rng.normal(size=(2, 5, 7)) * 3
    p, q = (np.exp(z / temperature) for z in (z_t, z_s))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = temperature**2 * (p * np.log(p / q)).sum() / 5
    value = loss(
        _know(torch.tensor(z_s)), _know(torch.tensor(z_t)), None, None)
    assert value.item() == pytest.approx(expected)


def test_the_factor_keeps_the_size_of_the_gradient():
    """At a high temperature it is that of (1 / C) times half the squared
    distance of centred logits (the paper's Eq. 4)."""
    torch.manual_seed(0)
    z_s, z_t = torch.randn(2, 3, 5, dtype=torch.double)
    z_s.requires_grad_()
    loss = MODELS.build(dict(type='KDLoss', weight=1, temperature=1e4))
    grad, = torch.autograd.grad(
        loss(_know(z_s), _know(z_t), None, None), z_s)
    centred = [z - z.mean(1, keepdim=True) for z in (z_s, z_t)]
    torch.testing.assert_close(
        grad, (centred[0] - centred[1]).detach() / (5 * 3), rtol=1e-3, atol=0)


def test_other_classes():
    loss = MODELS.build(dict(type='KDLoss'))
    with pytest.raises(
            ValueError, match='student has 10 and the teacher 100. Use a'):
        loss.prepare(
            _know(torch.zeros(2, 10)), _know(torch.zeros(2, 100)), 100)
