# Copyright (c) sskd_mm authors. All rights reserved.
"""What holds for each of these losses alike."""
import copy

import pytest
import torch
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

import sskd_mm.losses.joint
from sskd_mm.losses.joint import JointLoss, Knowledge

# What each looks at, and its published weight.
LOSSES = {
    'RKDLoss': (('embedding', ), 1),
    'CRDLoss': (('embedding', ), 0.8),
    'DKDLoss': (('logits', ), 1),
    'DISTLoss': (('logits', ), 1),
    'ReviewKDLoss': (('features', 'embedding'), 1),
}
READING = (torch.ops.aten._local_scalar_dense.default,
           torch.ops.aten.nonzero.default)
LABELS, INDICES = torch.tensor([2, 0, 2, 1]), torch.tensor([7, 3, 19, 0])

each_loss = pytest.mark.parametrize('name', LOSSES)


class NoReading(TorchDispatchMode):

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in READING, f'{func} needs a value'
        return func(*args, **(kwargs or {}))


def convert(knowledge, function):
    return Knowledge(
        tuple(function(x) for x in knowledge.features),
        function(knowledge.embedding), function(knowledge.logits))


def pair():
    """A student's and a teacher's; widths and a size differ."""
    torch.manual_seed(0)
    student = Knowledge((torch.randn(4, 3, 8, 8), torch.randn(4, 5, 2, 2)),
                        torch.randn(4, 5), torch.randn(4, 6))
    teacher = Knowledge((torch.randn(4, 2, 8, 8), torch.randn(4, 7, 4, 4)),
                        torch.randn(4, 7), torch.randn(4, 6))
    return student, teacher


def prepared(name):
    torch.manual_seed(0)
    loss = MODELS.build(dict(type=name))
    loss.prepare(*pair(), 20)
    return loss


def compute(name, student, teacher, labels=LABELS, indices=INDICES):
    """The loss of a new one: some change with each batch."""
    return prepared(name)(student, teacher, labels, indices)


@each_loss
def test_build(name):
    loss = prepared(name)
    assert isinstance(loss, JointLoss)
    assert type(loss) is getattr(sskd_mm.losses.joint, name)
    assert loss.weight == LOSSES[name][1]
    assert MODELS.build(dict(type=name, weight=3.5)).weight == 3.5
    value = loss(*pair(), LABELS, INDICES)
    assert value.shape == () and value > 0


@each_loss
def test_gradient_goes_to_what_it_looks_at(name):
    student, teacher = pair()
    student = convert(student, lambda x: x.requires_grad_())
    loss = prepared(name)
    loss(student, teacher, LABELS, INDICES).backward()
    for part in ('features', 'embedding', 'logits'):
        tensors = getattr(student, part)
        for tensor in tensors if part == 'features' else [tensors]:
            if part in LOSSES[name][0]:
                assert torch.isfinite(tensor.grad).all()
                assert tensor.grad.abs().max() > 0
            else:
                assert tensor.grad is None
    for key, parameter in loss.named_parameters():
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


@each_loss
def test_gradient_against_finite_differences(name):
    student, teacher = [convert(x, torch.Tensor.double) for x in pair()]
    loss = prepared(name).double()
    if name == 'CRDLoss':  # whose Z of the first batch is a constant
        loss.has_means.fill_(True)
    parts = (*student.features, student.embedding, student.logits)
    for part in parts:
        part.requires_grad_()

    def value(*parts):
        torch.manual_seed(0)
        return copy.deepcopy(loss)(Knowledge(parts[:2], *parts[2:]), teacher,
                                   LABELS, INDICES)

    assert torch.autograd.gradcheck(value, parts, fast_mode=True)


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype):
    # Squares of these overflow in float16.
    halves = [convert(x, lambda x: (300 * x).to(dtype)) for x in pair()]
    value = compute(name, *halves)
    assert value.dtype == torch.float32
    assert value == compute(name,
                            *[convert(x, torch.Tensor.float) for x in halves])


@each_loss
def test_autocast(name):
    expected = compute(name, *pair())
    with torch.autocast('cpu', torch.bfloat16):
        value = compute(name, *pair())
    assert value.dtype == torch.float32
    if name == 'ReviewKDLoss':  # whose convolutions it may lower
        torch.testing.assert_close(value, expected, rtol=0.02, atol=0)
    else:
        assert value == expected


@each_loss
def test_a_step_reads_no_value(name):
    student, teacher = pair()
    student = convert(student, lambda x: x.requires_grad_())
    loss = prepared(name)
    for _ in range(2):
        with NoReading():
            value = loss(student, teacher, LABELS, INDICES)
            value.backward()
            with pytest.raises(AssertionError, match='needs a value'):
                bool(value > 0)


@each_loss
def test_batch_of_one_class(name):
    student, teacher = pair()
    student = convert(student, lambda x: x.requires_grad_())
    value = compute(name, student, teacher, torch.ones(4).long())
    value.backward()
    assert torch.isfinite(value)
    for part in (*student.features, student.embedding, student.logits):
        assert part.grad is None or torch.isfinite(part.grad).all()


# ReviewKDLoss has a test of its own.
@pytest.mark.parametrize('name', [x for x in LOSSES if x != 'ReviewKDLoss'])
def test_batch_of_one_sample(name):
    student, teacher = [convert(x, lambda x: x[:1].clone()) for x in pair()]
    student = convert(student, lambda x: x.requires_grad_())
    value = compute(name, student, teacher, LABELS[:1], INDICES[:1])
    value.backward()
    assert torch.isfinite(value)
    for part in (student.embedding, student.logits):
        assert part.grad is None or torch.isfinite(part.grad).all()


@each_loss
@pytest.mark.parametrize('scale', [0., 1e-3, 1e3])
def test_dead_and_large_students(name, scale):
    student, teacher = pair()
    student = convert(student, lambda x: (scale * x).requires_grad_())
    value = compute(name, student, teacher)
    value.backward()
    assert torch.isfinite(value)
    for part in (*student.features, student.embedding, student.logits):
        assert part.grad is None or torch.isfinite(part.grad).all()


@each_loss
def test_state_resumes(name):
    one, other = prepared(name), prepared(name)
    one(*pair(), LABELS, INDICES)
    other.load_state_dict(one.state_dict())
    values = []
    for loss in (one, other):
        torch.manual_seed(1)
        values.append(loss(*pair(), LABELS, INDICES).item())
    assert values[0] == values[1]
