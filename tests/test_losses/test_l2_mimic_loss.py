# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.registry import MODELS


def test_by_hand():
    student = torch.tensor([[1., 2.], [3., 4.]])
    teacher = torch.tensor([[1., 0.], [0., 2.]])
    # (0 + 4 + 9 + 4) / 4, and 17 / (1 + 0 + 0 + 4)
    plain = MODELS.build(dict(type='L2MimicLoss'))
    relative = MODELS.build(dict(type='L2MimicLoss', normalize=True))
    assert plain(student, teacher).item() == pytest.approx(4.25)
    assert relative(student, teacher).item() == pytest.approx(3.4)
    assert relative(torch.zeros(2, 2), teacher).item() == pytest.approx(1)
    assert relative(teacher, teacher).item() == 0


@pytest.mark.parametrize('normalize', [False, True])
def test_gradient(normalize):
    loss = MODELS.build(dict(type='L2MimicLoss', normalize=normalize))
    torch.manual_seed(0)
    student = torch.randn(2, 3, 4, 4, dtype=torch.double, requires_grad=True)
    teacher = torch.randn(2, 3, 4, 4, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)


def test_half_precision_is_summed_in_float32():
    loss = MODELS.build(dict(type='L2MimicLoss'))
    student = torch.full((1, 64, 64, 64), 300., dtype=torch.float16)
    value = loss(student, torch.zeros_like(student))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(90000)  # no float16 holds this


def test_silent_teacher():
    loss = MODELS.build(dict(type='L2MimicLoss', normalize=True))
    assert torch.isfinite(loss(torch.zeros(2, 2), torch.zeros(2, 2)))


def test_shapes_must_agree():
    loss = MODELS.build(dict(type='L2MimicLoss'))
    with pytest.raises(ValueError, match=r'\(2, 3\).*\(2, 4\).*adapter'):
        loss(torch.rand(2, 3), torch.rand(2, 4))
