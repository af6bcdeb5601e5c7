# Copyright (c) sskd_mm authors. All rights reserved.
"""The metrics through MMEngine's evaluator, on real and on made faces."""
import os
from glob import glob

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.preprocessing import normalize

DATA = os.environ.get('SSKD_TEST_DATA')


def evaluate(metric, x, labels=None, order=None, **meta):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = meta
    order = range(len(x)) if order is None else order
    for i in order:
        sample = BaseDataElement(
            metainfo=dict(sample_idx=i), embedding=torch.as_tensor(x[i]))
        if labels is not None:
            sample.gt_label = torch.tensor([labels[i]])
        evaluator.process([sample])
    return evaluator.evaluate(len(order))


def made_faces(people=8, each=5, dim=6):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(people), each)
    x = rng.standard_normal((people, dim))[labels]
    return x + 0.7 * rng.standard_normal(x.shape), labels


def check(x, labels):
    """Against loops and scikit-learn."""
    unit = normalize(np.asarray(x, float))
    count = len(labels)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    scores = np.array([unit[i] @ unit[j] for i, j in pairs])
    same = np.array([labels[i] == labels[j] for i, j in pairs])
    far, tar, _ = roc_curve(same, scores)
    figures = evaluate([
        dict(type='FaceVerification', fars=(0.1, 0.01)),
        dict(type='FaceIdentification')
    ], x, labels)
    for value in (0.1, 0.01):
        assert figures[f'face/TAR@FAR={value}'] == pytest.approx(
            100 * tar[far <= value].max())
    assert figures['face/AUC'] == pytest.approx(
        100 * roc_auc_score(same, scores), abs=1e-4)
    assert 'face/accuracy' not in figures

    first = [np.flatnonzero(labels == k)[0] for k in sorted(set(labels))]
    probes = [i for i in range(count) if i not in first]
    ranks = []
    for probe in probes:
        s = unit[first] @ unit[probe]
        ranks.append((s > s[labels[probe]]).sum() + 1)
    for k in (1, 5):
        assert figures[f'face/rank-{k}'] == pytest.approx(
            100 * np.mean(np.array(ranks) <= k))
    tpirs = []
    for gallery in (first[::2], first[1::2]):
        people = [labels[g] for g in gallery]
        mates, alarms = [], []
        for probe in probes:
            s = unit[gallery] @ unit[probe]
            if labels[probe] in people:
                mates.append(s[people.index(labels[probe])])
            else:
                alarms.append(s.max())
        tpirs.append(
            max(
                np.mean(np.array(mates) >= t)
                for t in [*np.nextafter(alarms, 2), *mates]
                if np.mean(np.array(alarms) >= t) <= 0.1))
    assert figures['face/TPIR@FPIR=0.1'] == pytest.approx(100 * np.mean(tpirs))
    return figures


def test_against_loops():
    figures = check(*made_faces())
    assert 20 < figures['face/TAR@FAR=0.1'] < 100
    assert 10 < figures['face/TPIR@FPIR=0.1'] < 100


@pytest.mark.skipif(not DATA, reason='SSKD_TEST_DATA is not set')
def test_real_faces_by_their_pixels():
    files = sorted(glob(os.path.join(DATA, 'orl_faces', '*', '*.png')))
    people = sorted({os.path.dirname(f) for f in files})
    assert (len(files), len(people)) == (300, 30)
    labels = np.array([people.index(os.path.dirname(f)) for f in files])
    x = np.stack(
        [cv2.resize(cv2.imread(f, 0), (23, 28)).ravel() for f in files])
    x = x - x.mean(1, keepdims=True)
    figures = check(x.astype(np.float32), labels)
    # The people differ in more than chance, and pixels are no good.
    assert 50 < figures['face/rank-1'] < 95
    assert 80 < figures['face/AUC'] < 99


def test_pairs_of_the_data_set():
    x, labels = made_faces()
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, len(x), (2, 100))
    same = labels[first] == labels[second]
    figures = evaluate(
        dict(type='FaceVerification'), x, pairs=(first, second, same))
    unit = normalize(x)
    distances = ((unit[first] - unit[second])**2).sum(1)
    accuracies = []
    for k in range(10):
        test = np.arange(100) // 10 == k
        right = [((distances < t / 100) == same)[~test].sum()
                 for t in range(400)]
        t = right.index(max(right)) / 100
        accuracies.append(np.mean((distances < t)[test] == same[test]))
    assert figures['face/accuracy'] == pytest.approx(100 *
                                                     np.mean(accuracies))
    assert figures['face/accuracy_std'] == pytest.approx(100 *
                                                         np.std(accuracies))


def test_order_and_padding_do_not_count():
    x, labels = made_faces()
    expected = evaluate(dict(type='FaceIdentification'), x, labels)
    order = [*np.random.default_rng(0).permutation(len(x)).tolist(), 0, 1]
    assert evaluate(
        dict(type='FaceIdentification'), x, labels, order) == expected


def test_gallery_of_several_images():
    x = np.array([[1, 0, 0], [0, 1, 0], [.3, 1, 0], [0, .6, .8], [0, -.6, .8],
                  [0, 0, 1.]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    rank = [
        evaluate(
            dict(type='FaceIdentification', gallery=k, ranks=(1, ), fpirs=()),
            x, labels)['face/rank-1'] for k in (1, 2)
    ]
    # By the first images both probes of 0 are nearer to 1. By the means of
    # two, (1, 1, 0) and (0, 0, 1), both probes are right.
    assert rank == [50, 100]


def test_finer_than_the_pairs(monkeypatch):
    x, labels = made_faces()
    warnings = []
    monkeypatch.setattr('sskd_mm.evaluation.verification.print_log',
                        lambda text, **kwargs: warnings.append(text))
    figures = evaluate(
        dict(type='FaceVerification', fars=(0.1, 1e-6)), x, labels)
    assert len(warnings) == 1
    assert 'TAR@FAR=1e-06: 700 impostor pairs are too' in warnings[0]
    unit = normalize(x)
    scores = unit @ unit.T
    same = labels[:, None] == labels
    genuine = scores[np.triu(same, 1)]
    assert figures['face/TAR@FAR=1e-06'] == pytest.approx(
        100 * np.mean(genuine > scores[~same].max()))


def test_wrong_input():
    x, labels = made_faces()
    with pytest.raises(ValueError, match='data set with labels'):
        evaluate(dict(type='FaceVerification'), x)
    with pytest.raises(ValueError, match='39 embeddings .* are missing'):
        evaluate(
            dict(type='FaceVerification'), x, labels, order=range(1, 40))
    broken = x.copy()
    broken[7] = np.nan
    for metric in ('FaceVerification', 'FaceIdentification'):
        with pytest.raises(ValueError, match='1 of 40 embeddings are NaN'):
            evaluate(dict(type=metric), broken, labels)
    with pytest.raises(ValueError, match='than the 5 images'):
        evaluate(dict(type='FaceIdentification', gallery=5), x, labels)
    with pytest.raises(ValueError, match='0 genuine and'):
        evaluate(dict(type='FaceVerification'), x, np.arange(40))
    with pytest.raises(KeyError, match="needs 'embedding'"):
        evaluator = Evaluator(dict(type='FaceVerification'))
        evaluator.process([BaseDataElement(metainfo=dict(sample_idx=0))])
