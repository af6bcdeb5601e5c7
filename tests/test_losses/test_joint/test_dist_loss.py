# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge


def compute(student, teacher, **options):
    loss = MODELS.build(dict(type='DISTLoss', **options))
    return loss(
        Knowledge((), None, torch.as_tensor(student)),
        Knowledge((), None, torch.as_tensor(teacher)), None, None).item()


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.fixture
def logits():
    return np.random.default_rng(0).standard_normal((2, 6, 5))


@pytest.mark.parametrize('temperature', [1., 4.])
def test_against_numpy(logits, temperature):
    student, teacher = [softmax(x / temperature) for x in logits]
    inter = np.mean(
        [1 - np.corrcoef(student[n], teacher[n])[0, 1] for n in range(6)])
    intra = np.mean([
        1 - np.corrcoef(student[:, c], teacher[:, c])[0, 1] for c in range(5)
    ])
    options = dict(temperature=temperature)
    assert compute(*logits, **options) == pytest.approx(
        temperature**2 * (2 * inter + 2 * intra))
    assert compute(
        *logits, beta=0.5, gamma=3,
        **options) == pytest.approx(temperature**2 * (0.5 * inter + 3 * intra))


def test_opposite_outputs():
    # Over the classes: as the student's rise, the teacher's fall. Over the
    # two samples, too: a correlation of -1, so 1 - r is 2.
    student, teacher = [[1., 0.], [0., 1.]], [[0., 1.], [1., 0.]]
    assert compute(
        student, teacher, temperature=1) == pytest.approx(2 * 2 + 2 * 2)


def test_copy():
    logits = np.random.default_rng(0).standard_normal((6, 5))
    assert compute(logits, logits) == pytest.approx(0, abs=1e-12)
    # A constant to a sample's logits does not change its output.
    shift = np.arange(6)[:, None]
    assert compute(logits + shift, logits) == pytest.approx(0, abs=1e-12)


def test_scale_and_shift_of_an_output_do_not_count(logits):
    student, teacher = logits
    output = softmax(student)
    # Other outputs, which sum to 1 again.
    scale = np.linspace(0.2, 0.9, 6)[:, None]
    samples = np.log(scale * output + (1 - scale) / 5)
    expected = compute(student, teacher, temperature=1, gamma=0)
    assert compute(
        samples, teacher, temperature=1, gamma=0) == pytest.approx(expected)
    # The classes' relations do change by that.
    assert compute(
        samples, teacher, temperature=1, beta=0) != pytest.approx(
            compute(student, teacher, temperature=1, beta=0), rel=1e-3)


def test_one_sample_has_relations_of_classes_only(logits):
    student, teacher = logits[:, :1]
    output = [softmax(x / 4)[0] for x in (student, teacher)]
    expected = 16 * 2 * (1 - np.corrcoef(*output)[0, 1])
    assert compute(student, teacher) == pytest.approx(expected)


def test_bad_option():
    with pytest.raises(ValueError, match='temperature is 0; .* positive'):
        MODELS.build(dict(type='DISTLoss', temperature=0))
