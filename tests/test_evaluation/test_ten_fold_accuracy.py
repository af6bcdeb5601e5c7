# Copyright (c) sskd_mm authors. All rights reserved.
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold

from sskd_mm.evaluation import ten_fold_accuracy


def pairs(seed, count=205):
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    return rng.normal(np.where(same, 1.2, 1.8), 0.4).clip(0, 4), same


@pytest.mark.parametrize('seed', range(3))
def test_against_loops(seed):
    distances, same = pairs(seed)
    distances[:50] = distances[:50].round(2)  # some are on a threshold
    thresholds = [i * 0.01 for i in range(400)]
    result = ten_fold_accuracy(distances, same)
    for k, (train, test) in enumerate(KFold(10).split(distances)):
        scores = [
            accuracy_score(same[train], distances[train] < t)
            for t in thresholds
        ]
        best = thresholds[scores.index(max(scores))]
        assert result.thresholds[k] == best
        assert result.accuracies[k] == accuracy_score(same[test],
                                                      distances[test] < best)
    assert result.mean == np.mean(result.accuracies)
    assert result.std == np.std(result.accuracies)


def test_threshold_comes_from_the_other_folds():
    # The last fold is parted at 3, all others at 1.
    distances = np.tile([0.5, 1.5], 10)
    same = np.tile([True, False], 10)
    distances[-2:] = 2.5, 3.5
    result = ten_fold_accuracy(distances, same)
    assert result.accuracies.tolist() == [1] * 9 + [0.5]
    assert result.mean == pytest.approx(0.95)
    assert result.std == pytest.approx(0.15)


def test_no_distance_is_below_zero():
    # Identical images are accepted from the threshold 0.01 on.
    result = ten_fold_accuracy(np.zeros(10), np.ones(10, bool))
    assert result.thresholds.tolist() == [0.01] * 10
    assert result.mean == 1


def test_one_kind_of_pairs():
    result = ten_fold_accuracy(np.linspace(0, 3, 20), np.zeros(20, bool))
    assert result.thresholds.tolist() == [0] * 10
    assert result.mean == 1


def test_wrong_input():
    with pytest.raises(ValueError, match='9 pairs are too few for 10 folds'):
        ten_fold_accuracy(np.zeros(9), np.zeros(9, bool))
    with pytest.raises(ValueError, match='1 of 12 distances are NaN'):
        ten_fold_accuracy(np.array([np.nan] + [1] * 11), np.ones(12, bool))
    with pytest.raises(ValueError, match='3 distances, but 4 labels'):
        ten_fold_accuracy(np.zeros(3), np.ones(4, bool))


@pytest.mark.parametrize('same, single', [
    (np.arange(200) < 100, 10),
    (np.arange(200) < 90, 9),
    (np.arange(200) >= 175, 9),
    (np.arange(200) % 20 < 10, 0),
    (np.arange(200) % 40 < 20, 10),
    (np.arange(200) % 2 == 0, 0),
    (np.ones(200, bool), 0),
])
def test_folds_of_one_kind(same, single, monkeypatch):
    """They make the deviation that of the kinds, not of the folds."""
    warnings = []
    # Not by its path, where the function is.
    monkeypatch.setattr(sys.modules[ten_fold_accuracy.__module__],
                        'print_log',
                        lambda text, **kwargs: warnings.append(text))
    ten_fold_accuracy(np.where(same, 0.5, 3), same)
    expected = [f'{single} of 10 folds'] * (single > 0)
    assert [text[:len('9 of 10 folds') + (single == 10)]
            for text in warnings] == expected
