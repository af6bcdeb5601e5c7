# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from sskd_mm.evaluation import RocCurve


def operating_points(similarities, same):
    """FAR and TAR by counting at every threshold, and above all of them."""
    points = []
    for threshold in [*sorted(set(similarities)), np.inf]:
        accepted = [s >= threshold for s in similarities]
        points.append([
            sum(a for a, y in zip(accepted, same) if y == kind) /
            sum(y == kind for y in same) for kind in (False, True)
        ])
    return points


def pairs(seed, ties=False):
    rng = np.random.default_rng(seed)
    same = rng.random(300) < 0.3
    similarities = rng.normal(same * 1.0, 1).clip(-3, 3) / 3
    return similarities.round(1) if ties else similarities, same


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(3))
def test_against_counting(seed, ties):
    similarities, same = pairs(seed, ties)
    points = operating_points(similarities, same)
    curve = RocCurve(similarities, same)
    for far in (0, 1e-4, 1 / 300, 0.01, 0.05, 0.1, 0.29, 0.5, 1):
        assert curve.tar_at_far(far) == max(t for f, t in points if f <= far)
        gap = min(abs(f - far) for f, _ in points)
        assert curve.nearest_tar_at_far(far) == max(
            t for f, t in points if abs(f - far) == gap)
    gap, error = min((abs(f - (1 - t)), (f + 1 - t) / 2) for f, t in points)
    assert abs(curve.eer - error) <= gap
    assert curve.auc == pytest.approx(roc_auc_score(same, similarities))


def test_against_scikit_learn():
    similarities, same = pairs(0, ties=True)
    far, tar, _ = roc_curve(same, similarities)
    curve = RocCurve(similarities, same)
    for x in (0.001, 0.01, 0.1):
        assert curve.tar_at_far(x) == tar[far <= x].max()


def test_by_hand():
    # One of four impostors scores as high as a genuine pair.
    curve = RocCurve(
        np.array([.9, .7, .5, .7, .4, .3, .2]),
        np.array([True, True, True, False, False, False, False]))
    assert curve.tar_at_far(0) == pytest.approx(1 / 3)
    assert curve.tar_at_far(0.24) == pytest.approx(1 / 3)
    assert curve.tar_at_far(0.25) == 1
    # 0.2 is nearer to a FAR of 0.25 than to 0, and 0.1 is not.
    assert curve.nearest_tar_at_far(0.2) == 1
    assert curve.nearest_tar_at_far(0.1) == pytest.approx(1 / 3)
    # At 0.7 one of three is rejected and one of four accepted.
    assert curve.eer == pytest.approx((1 / 3 + 1 / 4) / 2)


def test_equal_similarities_have_no_operating_point_between():
    curve = RocCurve(np.ones(6), np.array([True, False] * 3))
    assert curve.tar_at_far(0.9) == 0
    assert curve.tar_at_far(1) == 1
    assert curve.auc == 0.5


@pytest.mark.parametrize('same', [[], [True] * 3, [False] * 3])
def test_one_kind_only(same):
    with pytest.raises(ValueError, match=f'{sum(same)} genuine and'):
        RocCurve(np.zeros(len(same)), np.array(same, bool))


def test_wrong_input():
    with pytest.raises(ValueError, match='1 of 2 similarities are NaN'):
        RocCurve(np.array([np.nan, 1]), np.array([True, False]))
    with pytest.raises(ValueError, match='3 similarities, but 2 labels'):
        RocCurve(np.zeros(3), np.array([True, False]))
