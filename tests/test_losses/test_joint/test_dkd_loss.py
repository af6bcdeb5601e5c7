# Copyright (c) sskd_mm authors. All rights reserved.
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge


def compute(student, teacher, labels, **options):
    """The loss of logits, fully warm unless told otherwise."""
    options = {'warmup_epochs': 0, **options}
    loss = MODELS.build(dict(type='DKDLoss', **options))
    student, teacher = [
        Knowledge((), None, torch.as_tensor(logits))
        for logits in (student, teacher)
    ]
    labels = torch.as_tensor(labels)
    loss.prepare(student, teacher, 100)
    return loss(student, teacher, labels, torch.arange(len(labels))).item()


def logits(num_classes=5, scale=3.):
    rng = np.random.default_rng(0)
    return scale * rng.standard_normal((2, 4, num_classes)), [0, 2, 4, 2]


def test_by_hand():
    # Of classes of odds 1 : 1 : 2, the first is the sample's own. The student
    # finds all three alike.
    student = torch.zeros(1, 3).double()
    teacher = torch.tensor([[1., 1., 2.]]).double().log()
    tckd = 1 / 4 * math.log(1 / 4 * 3) + 3 / 4 * math.log(3 / 4 * 3 / 2)
    nckd = 1 / 3 * math.log(1 / 3 * 2) + 2 / 3 * math.log(2 / 3 * 2)
    value = compute(student, teacher, [0], alpha=3, beta=5, temperature=1)
    assert value == pytest.approx(3 * tckd + 5 * nckd)


@pytest.mark.parametrize('temperature', [1., 4.])
def test_against_loops(temperature):
    (student, teacher), labels = logits()
    tckd = nckd = 0
    for s, t, label in zip(student, teacher, labels):
        p_s, p_t = [
            np.exp(x / temperature) / np.exp(x / temperature).sum()
            for x in (s, t)
        ]
        for b_s, b_t in ((p_s[label], p_t[label]), (1 - p_s[label],
                                                    1 - p_t[label])):
            tckd += b_t * np.log(b_t / b_s)
        for k in range(5):
            if k != label:
                hat_s = p_s[k] / (1 - p_s[label])
                hat_t = p_t[k] / (1 - p_t[label])
                nckd += hat_t * np.log(hat_t / hat_s)
    expected = temperature**2 * (1.5 * tckd + 8 * nckd) / 4
    value = compute(
        student, teacher, labels, alpha=1.5, temperature=temperature)
    assert value == pytest.approx(expected)


def test_parts_make_up_the_classical_divergence():
    """Eq. 6: KL(p_t || p_s) = TCKD + (1 - p_t of the class) NCKD."""
    (student, teacher), labels = logits()
    for s, t, label in zip(student, teacher, labels):
        s, t = torch.tensor(s[None]), torch.tensor(t[None])
        tckd, nckd = [
            compute(s, t, [label], alpha=alpha, beta=beta)
            for alpha, beta in ((1, 0), (0, 1))
        ]
        sure = F.softmax(t / 4, 1)[0, label].item()
        classical = 16 * F.kl_div(
            F.log_softmax(s / 4, 1),
            F.softmax(t / 4, 1),
            reduction='batchmean').item()
        assert tckd + (1 - sure) * nckd == pytest.approx(classical)


def test_two_classes_have_no_others_to_rank():
    (student, teacher), _ = logits(num_classes=2)
    assert compute(student, teacher, [0, 1, 0, 1], alpha=0) == 0
    assert compute(student, teacher, [0, 1, 0, 1], beta=0) > 0


def test_copy_and_shift():
    (student, teacher), labels = logits()
    assert compute(teacher + 7, teacher, labels) == pytest.approx(0, abs=1e-12)
    assert compute(student, teacher - 7,
                   labels) == pytest.approx(compute(student, teacher, labels))


def test_teacher_that_is_very_sure():
    """1 - p of 1e-40 is no number of float32."""
    teacher = torch.tensor([[400., 4., 0., 0.]])
    student = torch.tensor([[400., 0., 4., 0.]], requires_grad=True)
    value = compute(student, teacher, [0])
    exact = compute(student.double(), teacher.double(), [0])
    assert value == pytest.approx(exact, rel=1e-5)
    assert value > 1


def test_warms_up():
    (student, teacher), labels = logits()
    warm = compute(student, teacher, labels)
    cold = compute(student, teacher, labels, warmup_epochs=20)
    assert cold == pytest.approx(warm / 20)


def test_bad_options():
    with pytest.raises(ValueError, match='temperature is 0; .* positive'):
        compute([[0., 1.]], [[0., 1.]], [0], temperature=0)
    with pytest.raises(ValueError, match=r'warmup_epochs is -1; .* 0 \(no'):
        compute([[0., 1.]], [[0., 1.]], [0], warmup_epochs=-1)
