# Copyright (c) sskd_mm authors. All rights reserved.
"""Resampled scores against those of data sets with repeated images."""
import copy
import io
from contextlib import redirect_stdout
from itertools import islice

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import norm
from sklearn.metrics import accuracy_score

from sskd_mm.evaluation import (bootstrap_coco, bootstrap_mean, draw_images,
                                percentile_interval)

CATEGORIES = [dict(id=3, name='cat'), dict(id=7, name='dog')]
NAMES = [f'bbox_{name}' for name in ('mAP', 'mAP_50', 'mAP_75', 'mAP_s',
                                     'mAP_m', 'mAP_l')]


def test_accuracy():
    rng = np.random.default_rng(1)
    labels, found = rng.integers(0, 3, (2, 500))
    scores = bootstrap_mean(100. * (labels == found))
    for score, counts in zip(scores[:20], draw_images(500)):
        drawn = np.repeat(np.arange(500), counts)
        assert len(drawn) == 500
        assert score == pytest.approx(
            100 * accuracy_score(labels[drawn], found[drawn]))
    assert scores[0] == pytest.approx(100 * accuracy_score(labels, found))
    # As large a sample as this is nearly normal.
    low, high = percentile_interval(scores[1:])
    width = 2 * norm.ppf(.975) * np.sqrt(scores[0] * (100 - scores[0]) / 500)
    assert high - low == pytest.approx(width, rel=.1)
    assert low < scores[0] < high


def made_detections(rng):
    """Annotations and detections of eight images, by image."""
    annotations, detections = [], []
    for image in range(8):
        boxes, found = [], []
        for category, most in ((3, 4), (7, 2)):
            # No dog in most images, and nothing at all in the last.
            number = 0 if image == 7 or (category == 7 and image > 2) else most
            for _ in range(number):
                box = [*rng.uniform(0, 200, 2), *rng.uniform(10, 150, 2)]
                boxes.append(
                    dict(
                        category_id=category,
                        bbox=box,
                        area=box[2] * box[3],
                        iscrowd=int(rng.random() < .1)))
                shifted = [x + rng.normal() * 5 for x in box[:2]] + box[2:]
                found.append(
                    dict(
                        category_id=category,
                        bbox=shifted,
                        score=rng.random()))
        # More than the 100 that mAP counts.
        for _ in range(104 if image == 1 else 5):
            box = [*rng.uniform(0, 200, 2), *rng.uniform(10, 150, 2)]
            found.append(
                dict(category_id=3, bbox=box, score=.5 + rng.random() / 2))
        annotations.append(boxes)
        detections.append(found if image != 4 else [])
    return annotations, detections


def evaluate(annotations, detections):
    images = [dict(id=i) for i in range(len(annotations))]
    truth = [
        dict(each, image_id=i) for i, found in enumerate(annotations)
        for each in found
    ]
    with redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = dict(
            images=images,
            categories=CATEGORIES,
            annotations=[dict(x, id=i + 1) for i, x in enumerate(truth)])
        api.createIndex()
        found = api.loadRes([
            dict(each, image_id=i) for i, found in enumerate(detections)
            for each in found
        ])
        evaluation = COCOeval(api, found, 'bbox')
        evaluation.params.maxDets = [100, 300, 1000]
        evaluation.evaluate()
    return evaluation


def test_coco():
    """An image that is drawn twice is in the other data set twice."""
    annotations, detections = made_detections(np.random.default_rng(0))
    scores = bootstrap_coco(evaluate(annotations, detections))
    without_dogs = 0
    for number, counts in enumerate(islice(draw_images(8), 40)):
        without_dogs += not counts[:3].any()
        if counts[:3].any() and number > 4:
            continue
        drawn = np.repeat(np.arange(8), counts)
        other = evaluate(*(copy.deepcopy([each[i] for i in drawn])
                           for each in (annotations, detections)))
        with redirect_stdout(io.StringIO()):
            other.accumulate()
            other.summarize()
        for name, value in zip(NAMES, other.stats):
            assert scores[name][number] == pytest.approx(value), name
        cats = other.eval['precision'][:, :, 0, 0, -1]
        assert scores['cat_precision'][number] == pytest.approx(cats.mean())
        if not counts[:3].any():
            assert scores['dog_precision'][number] == -1
    assert without_dogs
    assert scores['bbox_mAP'][0] != scores['bbox_mAP'][1]


def test_the_same_images_for_all():
    """Differences are paired: what differs equally does not vary."""
    correct = np.random.default_rng(0).integers(0, 2, 100)
    scores = bootstrap_mean(correct)
    assert scores.std() > 0
    assert np.allclose(bootstrap_mean(correct + 1) - scores, 1)
