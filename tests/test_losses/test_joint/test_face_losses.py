# Copyright (c) sskd_mm authors. All rights reserved.
"""Joint losses for face recognition: embeddings, CCKD, AdaDistill."""
import copy
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.arc_margin import arc_margin
from sskd_mm.losses.joint import Knowledge

LOSSES = [
    dict(type='EmbeddingLoss'),
    dict(type='EmbeddingLoss', mimic_loss=dict(type='CosineMimicLoss')),
    dict(type='CCKDLoss'),
    dict(type='AdaDistillLoss'),
]
each_loss = pytest.mark.parametrize('cfg', LOSSES)


def build(cfg, student, teacher, classes=5):
    torch.manual_seed(1)
    loss = MODELS.build(cfg)
    loss.prepare(
        Knowledge((), student, torch.zeros(2, classes)),
        Knowledge((), teacher, None), 100)
    return loss


def call(loss, student, teacher, labels=None):
    return loss(
        Knowledge((), student, None), Knowledge((), teacher, None), labels,
        None)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def random(*shapes, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


# --- Embeddings -------------------------------------------------------------


def test_embeddings_of_one_size():
    student, teacher = random((6, 4), (6, 4))
    loss = build(dict(type='EmbeddingLoss'), student, teacher)
    assert not list(loss.parameters())
    value = call(loss, student, teacher)
    assert value.item() == pytest.approx(
        np.mean((student - teacher).numpy()**2))
    cosine = dict(
        type='EmbeddingLoss', mimic_loss=dict(type='CosineMimicLoss'))
    value = call(build(cosine, student, teacher), student, teacher)
    cosines = (unit(student.numpy()) * unit(teacher.numpy())).sum(1)
    assert value.item() == pytest.approx(1 - cosines.mean())


def test_embeddings_of_other_sizes():
    """Through a linear map, which trains."""
    student, teacher = random((6, 4), (6, 7))
    loss = build(dict(type='EmbeddingLoss'), student, teacher).double()
    weight, bias = (
        p.detach().numpy() for p in (loss.adapter.conv.weight[..., 0, 0],
                                     loss.adapter.conv.bias))
    mapped = student.numpy() @ weight.T + bias
    value = call(loss, student, teacher)
    expected = np.mean((mapped - teacher.numpy())**2)
    assert value.item() == pytest.approx(expected)
    value.backward()
    assert all(p.grad.abs().max() > 0 for p in loss.parameters())


# --- CCKD -------------------------------------------------------------------


def test_cckd_by_hand():
    # Cosines of 0 between the student's, of 0.6 between the teacher's.
    student = torch.tensor([[2., 0.], [0., 5.]])
    teacher = torch.tensor([[1., 0., 0.], [3., 4., 0.]])

    def kernel(cosine):
        return math.exp(-0.8) * (1 + 0.8 * cosine + 0.32 * cosine**2)

    # Twice among the four pairs; the others are a sample with itself.
    expected = 2 * (kernel(0) - kernel(0.6))**2 / 4
    value = call(MODELS.build(dict(type='CCKDLoss')), student, teacher)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_cckd_nears_the_gaussian_kernel():
    student, teacher = random((6, 4), (6, 9))

    def kernel(x):
        x = unit(x.numpy())
        squares = ((x[:, None] - x)**2).sum(-1)
        return np.exp(-0.7 * squares)

    expected = np.mean((kernel(student) - kernel(teacher))**2)
    loss = MODELS.build(dict(type='CCKDLoss', gamma=0.7, order=20))
    assert call(loss, student, teacher).item() == pytest.approx(expected)
    # The turn and the length of embeddings do not count.
    turn = torch.linalg.qr(random((4, 4))[0])[0]
    assert call(loss, 3 * student @ turn, teacher).item() == pytest.approx(
        expected)


# --- AdaDistill -------------------------------------------------------------


def test_arc_margin():
    angles = torch.linspace(0.01, math.pi - 0.01, 50, dtype=torch.float64)
    result = arc_margin(angles.cos(), 0.5)
    inside = angles + 0.5 < math.pi
    torch.testing.assert_close(result[inside], (angles + 0.5).cos()[inside])
    assert (result.diff() < 0).all()
    # It has a finite gradient at both ends.
    ends = torch.tensor([1., -1.], requires_grad=True)
    arc_margin(ends, 0.5).sum().backward()
    assert torch.isfinite(ends.grad).all()


def test_adadistill_against_loops():
    rng = np.random.default_rng(0)
    centres = np.zeros((5, 4))
    loss = None
    for step in range(4):
        # Not class 4; some classes twice or thrice in a batch.
        labels = rng.integers(0, 4, 6)
        teacher = rng.standard_normal((6, 4)) + 2 * np.eye(5, 4)[labels]
        student = teacher + rng.standard_normal((6, 4))
        tensors = [torch.from_numpy(x) for x in (student, teacher)]
        if loss is None:
            loss = build(
                dict(type='AdaDistillLoss', scale=10.), *tensors).double()
        value = call(loss, *tensors, torch.from_numpy(labels))
        s, t = unit(student), unit(teacher)
        moved = {}
        for i, y in enumerate(labels):
            length = np.linalg.norm(centres[y])
            typical = centres[y] @ t[i] / length if length else 0
            alpha = np.clip(s[i] @ t[i] * typical, 0, 1)
            moved.setdefault(y, []).append(alpha * centres[y] +
                                           (1 - alpha) * t[i])
        for y, each in moved.items():
            centres[y] = np.mean(each, 0)
        np.testing.assert_allclose(loss.centres, centres, atol=1e-12)
        expected = []
        for i, y in enumerate(labels):
            logits = np.array([
                s[i] @ c / (np.linalg.norm(c) or 1) for c in centres
            ])
            angle = np.arccos(logits[y])
            assert angle + 0.5 < np.pi
            logits[y] = np.cos(angle + 0.5)
            logits *= 10
            expected.append(np.log(np.exp(logits).sum()) - logits[y])
        assert value.item() == pytest.approx(np.mean(expected))
    assert (loss.centres[4] == 0).all()


def test_adadistill_centres_are_kept():
    student, teacher = random((6, 4), (6, 4), dtype=torch.float32)
    labels = torch.tensor([0, 1, 2, 2, 3, 0])
    loss = build(dict(type='AdaDistillLoss'), student, teacher)
    call(loss, student, teacher, labels)
    other = build(dict(type='AdaDistillLoss'), student, teacher)
    other.load_state_dict(copy.deepcopy(loss.state_dict()))
    # The second step goes on from the first.
    assert call(loss, student, teacher, labels) == call(
        other, student, teacher, labels)
    assert torch.equal(loss.centres, other.centres)


def test_adadistill_needs_one_size():
    with pytest.raises(ValueError, match='student.backbone.embedding=8'):
        build(dict(type='AdaDistillLoss'), *random((6, 4), (6, 8)))


# --- All of them ------------------------------------------------------------


@each_loss
def test_finite_differences(cfg):
    student, teacher = random((5, 4), (5, 4))
    student.requires_grad_()
    labels = torch.arange(5)
    loss = build(cfg, student, teacher).double()
    if cfg['type'] == 'AdaDistillLoss':
        # The centres follow the student too, but without a gradient.
        call(loss, student, teacher, labels)
        loss._move = lambda *args: None
    assert torch.autograd.gradcheck(
        lambda x: call(loss, x, teacher, labels), student)


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(cfg, dtype):
    student, teacher = random((5, 4), (5, 4), dtype=torch.float32)
    # Squares of these overflow in float16.
    halves = [(300 * x).to(dtype) for x in (student, teacher)]
    labels = torch.arange(5)
    value = call(build(cfg, student, teacher), *halves, labels)
    assert value.dtype == torch.float32 and torch.isfinite(value)
    assert value == call(
        build(cfg, student, teacher), *[x.float() for x in halves], labels)


@each_loss
def test_silent_embeddings(cfg):
    student, teacher = torch.zeros(3, 4, requires_grad=True), torch.zeros(3, 4)
    loss = build(cfg, student, teacher)
    value = call(loss, student, teacher, torch.arange(3))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(student.grad).all()
