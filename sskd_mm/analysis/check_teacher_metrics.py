# Copyright (c) sskd_mm authors. All rights reserved.
import math
import re
from typing import Any, Dict, NamedTuple, Optional

import numpy as np

# mAP, bbox_mAP_50, AR@100, single-label/precision, mIoU; but not MAPE.
_SHARE = re.compile('(?<![A-Z])AP(?![A-Za-z])|(?<![A-Za-z])AR(?![A-Za-z])|'
                    'PQ|(?i:precision|recall|f1|IoU)')
# mmpretrain's, whose names may end in _micro or a threshold.
_TOP = re.compile(r'top(\d+)(?![^_])')
_OF_CLASSES = re.compile('(precision|recall|f1-score)(?![^_])')
#: Metrics with these prefixes are in percent, however small.
_IN_PERCENT = ('single-label', 'multi-label', 'retrieval', 'coco_panoptic')


class Chance(NamedTuple):
    """What an untrained network would score.

    Attributes:
        limit (float): Values up to this may be luck.
        words (str): The baseline behind the limit, for messages.
    """
    limit: float
    words: str


def check_teacher_metrics(metrics: Dict[str, Any],
                          num_classes: Optional[int],
                          labels: Optional[np.ndarray] = None) -> None:
    """Refuse a teacher that is hardly better than a random one.

    Only the main metric counts: a top-k accuracy if there is one, else the
    first that ends in ``mAP``, else the ``AUC`` of a
    :class:`~sskd_mm.evaluation.FaceVerification` (recognised by its ``EER``),
    else the first that is known here. It is no better than random if it is

    - NaN or missing (a detector that finds nothing);
    - in percent and at most 1.5 times chance or, if chance is high, at most a
      tenth of the way from chance to 100. Chance is k of the classes for a
      top-k accuracy; one of the classes for precision, recall and F1 of
      single labels; derived from the class frequencies for several labels per
      image; and 50 for the AUC of faces (where only the tenth of the way
      counts);
    - another average precision or recall, precision, F1, IoU or PQ below 1 %.

    Percentages are recognised by values above 1 and by the default prefixes
    of mmpretrain's metrics. Other metrics are unknown here and pass. So does
    the recall of several labels, which is 100 for predicting every label.

    Args:
        metrics (dict[str, Any]): The teacher's metrics on the validation set.
            Per-class values are averaged.
        num_classes (int, optional): Determines chance. Without it an accuracy
            passes.
        labels (np.ndarray, optional): In a multi-label validation set, which
            image has which label, bool, (N, C), see
            :func:`~sskd_mm.datasets.read_multi_labels`.

    Raises:
        ValueError: Names the metric, what chance would give, the usual causes
            and how to continue anyway.
    """
    values = _scalars(metrics)
    chances = {
        name: _find_chance(name, values, num_classes, labels)
        for name in values
    }
    known = {n: v for n, v in values.items() if chances[n] is not None}
    name = _main_metric(known) or next(iter(values), None)
    if name is None:
        if metrics:
            return
        found = 'has no metric at all, as when a detector finds nothing'
    elif math.isnan(values[name]):
        found = f'scores {name}: nan'
    elif chances[name] is None or values[name] > chances[name].limit:
        return
    else:
        found = f'scores {name}: {values[name]:.4g}{chances[name].words}'
    raise ValueError(
        f'The teacher {found} on the validation set. It would teach noise. '
        'The usual causes:\n'
        '  teacher.cfg is not the config that teacher.checkpoint was trained '
        'with, though the weights fit;\n'
        '  the images are not prepared as in its training: mean, '
        'std, bgr_to_rgb of its data_preprocessor, or the size in '
        'val_dataloader.dataset.pipeline;\n'
        '  its classes are in a different order from those of '
        'val_dataloader.dataset.metainfo;\n'
        '  val_dataloader.dataset.ann_file or val_evaluator.ann_file belongs '
        'to other images.\n'
        'To train with it anyway, set '
        'train_cfg.accept_weak_teacher=True.')


def _scalars(metrics: Dict[str, Any]) -> Dict[str, float]:
    """Keep numbers, and average lists of numbers."""
    values = {}
    for name, value in metrics.items():
        value = np.asarray(value)
        if value.ndim <= 1 and value.size and value.dtype.kind in 'bifu':
            values[name] = float(value.mean())
    return values


def _last(name: str) -> str:
    return name.rpartition('/')[2]


def _main_metric(known: Dict[str, float]) -> Optional[str]:
    for pattern in (r'top1(_.*)?', r'top\d+(_.*)?', '.*mAP', 'AUC', '.*'):
        names = [name for name in known if re.fullmatch(pattern, _last(name))]
        if names and pattern.startswith('top'):
            # Of several thresholds, the one that keeps the most.
            return max(names, key=known.get)
        if names:
            return names[0]
    return None


def _find_chance(name: str, values: Dict[str, float],
                 num_classes: Optional[int],
                 labels: Optional[np.ndarray]) -> Optional[Chance]:
    """Find the chance level of a metric; None if unknown."""
    last = _last(name)
    top, of_classes = _TOP.match(last), _OF_CLASSES.match(last)
    if top:
        if not num_classes:
            return None
        k = int(top[1])
        return _better_than(
            100 * k / num_classes, 'guessing one of '
            f'{num_classes} classes' if k == 1 else
            f'guessing {k} of {num_classes} classes')
    if last == 'AUC':
        if name[:-3] + 'EER' not in values:
            return None
        return Chance(
            55., ' %, while guessing gives 50 % and up to 55 % may be luck')
    if not _SHARE.search(last):
        return None
    if not _in_percent(name, values):
        return Chance(0.01, ', while a random one gives 0')
    if labels is not None:
        return _chance_of_labels(last, labels)
    if of_classes and num_classes:
        return _better_than(100 / num_classes,
                            f'guessing one of {num_classes} classes')
    return Chance(1., ' %, while a random one gives 0')


def _in_percent(name: str, values: Dict[str, float]) -> bool:
    prefix = name.rpartition('/')[0]
    return prefix in _IN_PERCENT or any(
        value > 1 for other, value in values.items()
        if other.rpartition('/')[0] == prefix and _SHARE.search(_last(other)))


def _chance_of_labels(last: str, labels: np.ndarray) -> Optional[Chance]:
    num_images, positives = len(labels), labels.sum(0)
    frequency = positives / num_images
    if _SHARE.search(last)[0] == 'AP':
        # Expected average precision of a random order of N images, R of them
        # positive (Bestgen, Exact Expected Average Precision of the Random
        # Baseline for System Evaluation, 2015): above R / N in a small set.
        harmonic = (1 / np.arange(1, num_images + 1)).sum()
        chance = (harmonic + (positives - 1) / max(num_images - 1, 1) *
                  (num_images - harmonic)) / num_images
        return _better_than(100 * (chance * (positives > 0)).mean(),
                            'a random order of the images')
    if 'precision' in last:
        return _better_than(100 * frequency.mean(), 'saying yes to all labels')
    if 'f1' in last:
        return _better_than(100 * (2 * frequency / (1 + frequency)).mean(),
                            'saying yes to all labels')
    return None


def _better_than(chance: float, words: str) -> Chance:
    limit = min(1.5 * chance, chance + (100 - chance) / 10)
    return Chance(
        limit, f' %, while {words} gives {chance:.4g} % and up to '
        f'{limit:.4g} % may be luck')
