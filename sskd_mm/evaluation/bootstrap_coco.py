# Copyright (c) sskd_mm authors. All rights reserved.
from itertools import islice
from typing import Any, Dict, Iterator, List, Optional

import numpy as np

from .bootstrap import RESAMPLES, draw_images

#: IoU threshold, area and detections of an image that count, by metric; as in
#: ``COCOeval.summarize``, where None is all thresholds, and the most
#: detections.
_METRICS = dict(
    mAP=(None, 'all', 100),
    mAP_50=(.5, 'all', None),
    mAP_75=(.75, 'all', None),
    mAP_s=(None, 'small', None),
    mAP_m=(None, 'medium', None),
    mAP_l=(None, 'large', None))
#: Detections times resamples that are accumulated at a time.
_MOST_NUMBERS = 2**20


def bootstrap_coco(coco_eval: Any) -> Dict[str, np.ndarray]:
    """Resample COCO's average precision by images, see :func:`draw_images`.

    Matching a detection to an object concerns its image alone, so it is done
    once, by ``COCOeval.evaluate``. Each resample only accumulates: an image
    that is drawn twice counts as two images with equal objects and
    detections.

    Args:
        coco_eval (COCOeval): pycocotools' evaluator of boxes or masks after
            ``evaluate()``.

    Returns:
        dict[str, np.ndarray]: By the names of mmdet's ``CocoMetric``, the
        metric and then that of each resample, shape (1 + :data:`RESAMPLES`, );
        -1 where there is no object to be found.

    Example:
        >>> coco_eval.evaluate()
        >>> percentile_interval(bootstrap_coco(coco_eval)['bbox_mAP'][1:])
        (0.45, 0.52)
    """
    params, kind = coco_eval.params, coco_eval.params.iouType
    # Fewer detections than the limit need not be counted twice.
    most = max((len(e['dtScores']) for e in coco_eval.evalImgs if e),
               default=0)
    known: Dict[tuple, np.ndarray] = {}

    def precision(area: str, limit: Optional[int]) -> np.ndarray:
        key = area, min(limit or params.maxDets[-1], most)
        if key not in known:
            known[key] = _resample(coco_eval, *key)
        return known[key]

    result = {}
    for name, (threshold, area, limit) in _METRICS.items():
        chosen = precision(area, limit)
        if threshold is not None:
            chosen = chosen[:, :, params.iouThrs == threshold]
        result[f'{kind}_{name}'] = _mean(chosen)
    for number, category in enumerate(
            coco_eval.cocoGt.loadCats(params.catIds)):
        result[f'{category["name"]}_precision'] = _mean(
            precision('all', None)[:, number])
    return result


def _resample(coco_eval: Any, area: str, limit: int) -> np.ndarray:
    """Average precision in each resample, by category and IoU threshold,
    shape (1 + RESAMPLES, K, T); NaN where there is no object."""
    params = coco_eval.params
    images, areas = len(params.imgIds), len(params.areaRng)
    result = []
    for k in range(len(params.catIds)):
        # evalImgs is a list of K x areas x images.
        begin = (k * areas + params.areaRngLbl.index(area)) * images
        category = _Category(coco_eval.evalImgs[begin:begin + images],
                             len(params.iouThrs), limit)
        result.append(
            np.concatenate([
                category.average_precision(counts, params.recThrs)
                for counts in category.batches(draw_images(images))
            ]))
    return np.stack(result, axis=1)


def _mean(precision: np.ndarray) -> np.ndarray:
    """The mean in each resample of what is not NaN, -1 if all is."""
    flat = precision.reshape(1 + RESAMPLES, -1)
    known = ~np.isnan(flat)
    number = known.sum(1)
    total = np.where(known, flat, 0).sum(1)
    return np.where(number > 0, total / np.maximum(number, 1), -1)


class _Category:
    """Objects and detections of one category in one range of areas.

    Args:
        images (list[dict, None]): What ``COCOeval.evaluateImg`` returned, for
            each image.
        thresholds (int): Number of IoU thresholds, T.
        limit (int): Detections of an image that count.
    """

    def __init__(self, images: List[Optional[dict]], thresholds: int,
                 limit: int) -> None:
        found = [(i, each) for i, each in enumerate(images) if each]
        #: Objects in each image.
        self._objects = np.zeros(len(images))
        for i, each in found:
            self._objects[i] = np.count_nonzero(np.equal(each['gtIgnore'], 0))
        scores = [each['dtScores'][:limit] for _, each in found]
        # As COCOeval.accumulate sorts them. D detections of all images.
        order = np.argsort(
            -np.concatenate([[], *scores]), kind='mergesort')
        image = np.repeat([i for i, _ in found], list(map(len, scores)))
        #: The image of each detection, shape (D, ).
        self._image = image[order].astype(np.int64)
        nothing = np.zeros((thresholds, 0), dtype=bool)
        matched, ignored = (
            np.concatenate(
                [nothing, *(each[key][:, :limit] for _, each in found)],
                axis=1)[:, order].astype(bool)
            for key in ('dtMatches', 'dtIgnore'))
        #: By IoU threshold, the detections that count, and which of them are
        #: true.
        self._counted = [np.flatnonzero(row) for row in ~ignored]
        self._true = [
            np.flatnonzero(row[counted])
            for row, counted in zip(matched, self._counted)
        ]

    def batches(self, draws: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Stack draws, as many as fit into some megabytes."""
        size = 1 + _MOST_NUMBERS // (len(self._image) + 1)
        while True:
            batch = list(islice(draws, size))
            if not batch:
                return
            yield np.stack(batch, axis=1).astype(np.int32)

    def average_precision(self, counts: np.ndarray,
                          recalls: np.ndarray) -> np.ndarray:
        """Average the precision at given recalls.

        Args:
            counts (np.ndarray): How often each image counts in each resample,
                shape (N, B).
            recalls (np.ndarray): The recalls.

        Returns:
            np.ndarray: By resample and IoU threshold, shape (B, T); NaN if
            there is no object.
        """
        objects = self._objects @ counts
        needed = _hits_for(recalls, objects)  # (B, R)
        weights = counts[self._image]  # (D, B)
        result = np.full((len(objects), len(self._true)), np.nan)
        some = objects > 0
        for t, (counted, true) in enumerate(zip(self._counted, self._true)):
            # Recall rises, and precision peaks, only where one is true.
            hits = np.cumsum(weights[counted[true]], axis=0, dtype=np.int32)
            seen = np.cumsum(
                weights[counted], axis=0, dtype=np.int32)[true]
            precision = hits / (seen + np.spacing(1))
            # The best at this recall or a higher one, and 0 beyond.
            best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            best = np.pad(best, ((0, 1), (0, 0)))
            at = _search_rows(hits.T, needed)
            result[some, t] = np.take_along_axis(best.T, at, 1).mean(1)[some]
        return result


def _hits_for(recalls: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """How many of so many objects have to be found for a recall, shape
    (B, R), exactly as COCOeval compares quotients."""
    objects = np.maximum(objects, 1)[:, None]
    hits = np.ceil(recalls * objects)
    hits -= (hits - 1) / objects >= recalls
    hits += hits / objects < recalls
    return hits.astype(np.int64)


def _search_rows(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``np.searchsorted`` of whole numbers from 0 in each row at once."""
    offset = np.arange(len(rows))[:, None]
    step = 1 + max(values.max(), rows.max(initial=0))
    found = np.searchsorted((rows + offset * step).ravel(),
                            (values + offset * step).ravel())
    return found.reshape(values.shape) - offset * rows.shape[1]
