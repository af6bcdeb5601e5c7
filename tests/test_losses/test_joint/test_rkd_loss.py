# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from sskd_mm.losses.joint import Knowledge


def compute(student, teacher, **options):
    loss = MODELS.build(dict(type='RKDLoss', **options))
    return loss(
        Knowledge((), torch.as_tensor(student), None),
        Knowledge((), torch.as_tensor(teacher), None), None, None).item()


def huber(x):
    return x**2 / 2 if abs(x) <= 1 else abs(x) - 0.5


def test_by_hand():
    # Corners of a triangle with sides 3, 4, 5 (mean 4) and of another with
    # all sides alike; the right angle is at the first.
    student = [[0., 0.], [3., 0.], [0., 4.]]
    teacher = [[0., 0.], [1., 0.], [0.5, 0.75**0.5]]
    # Each distance counts twice among the nine pairs.
    distance = 2 * (huber(3 / 4 - 1) + huber(1 - 1) + huber(5 / 4 - 1)) / 9
    assert compute(
        student, teacher, distance_weight=1, angle_weight=0) == pytest.approx(
            distance, rel=1e-5)
    # And each angle twice among the 27 triples; an angle of a sample with
    # itself is 0 degrees in both.
    angle = 2 * (huber(0 - 0.5) + huber(0.6 - 0.5) + huber(0.8 - 0.5)) / 27
    assert compute(
        student, teacher, distance_weight=0, angle_weight=1) == pytest.approx(
            angle, rel=1e-5)
    assert compute(student, teacher) == pytest.approx(
        25 * distance + 50 * angle, rel=1e-5)


def test_against_loops():
    rng = np.random.default_rng(0)
    # Far apart, for differences beyond 1.
    student = rng.standard_normal((6, 3))**3
    teacher = rng.standard_normal((6, 5))

    def relate(x):
        distance = np.zeros((6, 6))
        angle = np.zeros((6, 6, 6))
        for i, j in np.ndindex(6, 6):
            distance[i, j] = np.sqrt(sum((x[i] - x[j])**2))
        for i, j, k in np.ndindex(6, 6, 6):
            if i != j and k != j:
                angle[i, j, k] = ((x[i] - x[j]) @ (x[k] - x[j]) /
                                  distance[i, j] / distance[k, j])
        return distance / (distance.sum() / 30), angle

    (distance_s, angle_s), (distance_t, angle_t) = map(relate,
                                                       (student, teacher))
    distance = np.mean([huber(x) for x in (distance_s - distance_t).flat])
    angle = np.mean([huber(x) for x in (angle_s - angle_t).flat])
    assert abs(distance_s - distance_t).max() > 1
    assert abs(angle_s - angle_t).max() > 1
    assert compute(student,
                   teacher) == pytest.approx(25 * distance + 50 * angle)


def test_place_turn_and_scale_do_not_count():
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 6, 4))
    turn, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    expected = compute(student, teacher)
    assert compute(3 * student @ turn + 5, teacher) == pytest.approx(expected)
    assert compute(teacher @ turn / 7 - 1, teacher) == pytest.approx(
        0, abs=1e-10)


@pytest.mark.parametrize(
    'student', [[[1., 2.]], [[1., 2.]] * 3, [[1., 2.], [1., 2.], [0., 0.]]])
def test_samples_on_one_point(student):
    student = torch.tensor(student, requires_grad=True)
    teacher = torch.rand(len(student), 5)
    loss = MODELS.build(dict(type='RKDLoss'))
    value = loss(
        Knowledge((), student, None), Knowledge((), teacher, None), None, None)
    value.backward()
    assert torch.isfinite(value)
    assert student.grad.abs().max() < 1e3
    if len(student) == 1:
        assert value == 0
