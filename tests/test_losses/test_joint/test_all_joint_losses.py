# Copyright (c) sskd_mm authors. All rights reserved.
"""What holds for each joint loss alike."""
import copy

import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge

CONFIGS = [
    dict(type='KDLoss'),
    dict(type='FitNetLoss'),
    dict(type='ATLoss'),
    dict(type='FSPLoss'),
    dict(type='NSTLoss'),
]
SHAPES = ((4, 8, 8), (6, 4, 4), (8, 2, 2))

each_loss = pytest.mark.parametrize(
    'cfg', CONFIGS, ids=lambda cfg: cfg['type'])


def knowledge(dtype=torch.float32, scale=1.):
    """Of four images, ten classes."""
    return Knowledge(
        tuple((scale * torch.randn(4, *shape)).to(dtype) for shape in SHAPES),
        (scale * torch.randn(4, 8)).to(dtype),
        (scale * torch.randn(4, 10)).to(dtype), ('a', 'b', 'c'))


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return knowledge(), knowledge()


def _build(cfg, student, teacher):
    torch.manual_seed(1)
    loss = MODELS.build(cfg)
    loss.prepare(student, teacher, 100)
    return loss


def _call(loss, student, teacher):
    return loss(student, teacher, torch.arange(4), torch.arange(4))


def _to(each, function):
    return each._replace(
        features=tuple(map(function, each.features)),
        embedding=function(each.embedding),
        logits=function(each.logits))


@each_loss
def test_scalar_without_its_weight(cfg, pair):
    values = [
        _call(_build(dict(cfg, weight=weight), *pair), *pair)
        for weight in (1, 7)
    ]
    assert values[0].shape == () and values[0] > 0
    assert values[0] == values[1]


@each_loss
def test_gradient_reaches_student_and_loss_alone(cfg, pair):
    student, teacher = (_to(x, lambda t: t.clone().requires_grad_())
                        for x in pair)
    loss = _build(cfg, *pair)
    # As the distiller passes it on.
    _call(loss, student, _to(teacher, torch.Tensor.detach)).backward()
    reached = [
        x.grad is not None and bool(x.grad.abs().max() > 0)
        for x in (*student.features, student.logits)
    ]
    assert any(reached)
    for param in loss.parameters():
        assert param.grad is not None and torch.isfinite(param.grad).all()
    for x in (*teacher.features, teacher.logits):
        assert x.grad is None


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(cfg, pair, dtype):
    loss = _build(cfg, *pair)
    # Squares of these overflow in float16.
    halves = [_to(x, lambda t: (300 * t).to(dtype)) for x in pair]
    value = _call(loss, *halves)
    assert value.dtype == torch.float32 and torch.isfinite(value)
    assert value == _call(loss, *[_to(x, torch.Tensor.float) for x in halves])


@each_loss
def test_finite_differences(cfg, pair):
    student, teacher = (_to(x, torch.Tensor.double) for x in pair)
    loss = _build(cfg, *pair).double()

    def value(*tensors):
        *features, logits = tensors
        return _call(
            loss, student._replace(features=tuple(features), logits=logits),
            teacher)

    tensors = [x.requires_grad_() for x in (*student.features, student.logits)]
    assert torch.autograd.gradcheck(value, tensors, fast_mode=True)


@each_loss
@pytest.mark.filterwarnings('ignore:There is a performance drop')
def test_reads_no_value(cfg, pair):
    """``vmap`` refuses ``.item()`` and branches on values."""
    loss = _build(cfg, *pair).eval()
    expected = _call(loss, *pair)
    if cfg['type'] == 'FitNetLoss':
        return  # Its batch norm does not go with vmap.
    batched = [_to(x, lambda t: t[None]) for x in pair]

    def value(student, teacher):
        names = dict(names=('a', 'b', 'c'))
        return _call(loss, Knowledge(*student, **names),
                     Knowledge(*teacher, **names))

    result = torch.func.vmap(value)(tuple(batched[0][:3]),
                                    tuple(batched[1][:3]))
    torch.testing.assert_close(result[0], expected)


@each_loss
def test_its_state_can_be_resumed(cfg, pair):
    loss = _build(cfg, *pair)
    _call(loss, *pair)
    state = copy.deepcopy(loss.state_dict())
    torch.manual_seed(5)
    other = MODELS.build(cfg)
    other.prepare(*pair, 100)
    other.load_state_dict(state)
    assert _call(loss, *pair) == _call(other, *pair)
