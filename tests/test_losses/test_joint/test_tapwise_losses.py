# Copyright (c) sskd_mm authors. All rights reserved.
"""AT, NST and FSP over several taps against their formulas."""
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge


def _know(*features):
    x = torch.zeros(len(features[0]), 1)
    return Knowledge(tuple(map(torch.as_tensor, features)), x, x)


def _value(type, student, teacher):
    loss = MODELS.build(dict(type=type))
    student, teacher = _know(*student), _know(*teacher)
    loss.prepare(student, teacher, 100)
    return loss(student, teacher, None, None).item()


def _features(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, *shape)) for shape in shapes]


def _pool(x):
    """Halve height and width."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def _at(student, teacher):
    maps = []
    for x in (student, teacher):
        q = (x**2).mean(1).reshape(len(x), -1)
        maps.append(q / np.linalg.norm(q, axis=1, keepdims=True))
    return ((maps[0] - maps[1])**2).mean()


def _nst(student, teacher):
    """The double sums over channels, one kernel value at a time."""

    def kernel(a, b):
        values = [
            (x.ravel() @ y.ravel() / np.linalg.norm(x) / np.linalg.norm(y))**2
            for x in a for y in b
        ]
        return sum(values) / len(values)

    return np.mean([
        kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)
        for s, t in zip(student, teacher)
    ])


@pytest.mark.parametrize('type, formula', [('ATLoss', _at),
                                           ('NSTLoss', _nst)])
def test_sum_over_taps(type, formula):
    student = _features((3, 8, 8), (4, 4, 4), (5, 4, 4))
    # Other channels; of the last two taps one is larger, one is smaller.
    teacher = _features((6, 8, 8), (7, 8, 8), (8, 2, 2))
    expected = (
        formula(student[0], teacher[0]) +
        formula(student[1], _pool(teacher[1])) +
        formula(_pool(student[2]), teacher[2]))
    assert _value(type, student, teacher) == pytest.approx(expected)


def test_fsp():
    shapes = (3, 8, 8), (4, 8, 8), (5, 4, 4)
    student = _features(*shapes)
    teacher = [x[::-1].copy() for x in student]  # the other image's

    def flows(features):
        # The last flow is at 4 x 4, from the largest of each 2 x 2.
        x = features[1].reshape(2, 4, 4, 2, 4, 2).max((3, 5))
        return [
            np.einsum('nihw,njhw->nij', features[0], features[1]) / 64,
            np.einsum('nihw,njhw->nij', x, features[2]) / 16
        ]

    expected = sum(((s - t)**2).mean()
                   for s, t in zip(flows(student), flows(teacher)))
    assert _value('FSPLoss', student, teacher) == pytest.approx(expected)


@pytest.mark.parametrize('student, teacher', [
    (((3, 8, 8), (4, 8, 8)), ((3, 8, 8), (5, 8, 8))),
    (((3, 8, 8), (4, 8, 8)), ((3, 8, 8), (4, 4, 4))),
    (((3, 8, 8), ), ((3, 8, 8), )),
])
def test_fsp_needs_the_same_shapes(student, teacher):
    with pytest.raises(ValueError, match='at least two taps.*FSPMimicLoss'):
        _value('FSPLoss', _features(*student), _features(*teacher))


@pytest.mark.parametrize('type', ['ATLoss', 'NSTLoss', 'FSPLoss'])
@pytest.mark.parametrize('shape', [(5, ), (9, 5), (5, 1, 1)])
def test_no_map(type, shape):
    features = _features((3, 8, 8), shape)
    with pytest.raises(
            ValueError, match=f'{type} compares maps.* at tap 1 has'):
        _value(type, features, features)
