# Copyright (c) sskd_mm authors. All rights reserved.
import math
import re
from typing import Any, Dict, NamedTuple, Optional

import numpy as np

# mAP, bbox_mAP_50, AR@100, single-label/precision, mIoU; but not MAPE.
_SHARE = re.compile('(?<![A-Z])AP(?![A-Za-z])|(?<![A-Za-z])AR(?![A-Za-z])|'
                    'PQ|(?i:precision|recall|f1|IoU)')
# Of mmpretrain, whose names go on with _micro or a threshold.
_TOP = re.compile(r'top(\d+)(?![^_])')
_OF_CLASSES = re.compile('(precision|recall|f1-score)(?![^_])')
#: Metrics of these prefixes are in percent, as small as they may be.
_IN_PERCENT = ('single-label', 'multi-label', 'retrieval', 'coco_panoptic')


class Chance(NamedTuple):
    """What a metric gives without any knowledge.

    Attributes:
        limit (float): Up to this it may be luck.
        words (str): What it is that gives so much.
    """
    limit: float
    words: str


def check_teacher_metrics(metrics: Dict[str, Any],
                          num_classes: Optional[int],
                          labels: Optional[np.ndarray] = None) -> None:
    """Refuse a teacher that is hardly better than a random one.

    Only the main metric counts: a top-k accuracy where there is one, else
    the first that ends in ``mAP``, else the ``AUC`` of a
    :class:`~sskd_mm.evaluation.FaceVerification`, which stands beside an
    ``EER``, else the first that is known here. It is as good as random where
    it is

    - NaN, or not there at all (a detector that finds nothing),
    - in percent and at most 1.5 times chance, or, where that is much, at most
      a tenth of the way from chance to 100. Chance of a top-k accuracy is k
      of the classes; of precision, recall and F1 of single labels one of the
      classes; of several labels an image what follows from how frequent they
      are; of the AUC of faces 50 (here only the tenth of the way counts),
    - another average precision or recall, precision, F1, IoU or PQ below 1 %.

    A share is told from percent by values above 1, and by the prefixes that
    mmpretrain's metrics have by default. What other metrics mean is not known
    here, so they pass, and so does recall of several labels, which is 100 for
    who says yes to all.

    Args:
        metrics (dict[str, Any]): The teacher's, on the validation set.
            Of one value a class, the mean counts.
        num_classes (int, optional): What chance follows from. Without it an
            accuracy passes.
        labels (np.ndarray, optional): Of a validation set of several labels
            an image, which has which, bool, (N, C), see
            :func:`~sskd_mm.datasets.read_multi_labels`.

    Raises:
        ValueError: Says what the metric is, what chance would give, the usual
            causes and how to go on anyway.
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
        '  the images are prepared otherwise than for its training: mean, '
        'std, bgr_to_rgb of its data_preprocessor, or the size in '
        'val_dataloader.dataset.pipeline;\n'
        '  its classes are in another order than those of '
        'val_dataloader.dataset.metainfo;\n'
        '  val_dataloader.dataset.ann_file or val_evaluator.ann_file belongs '
        'to other images.\n'
        'To train with it nevertheless, set '
        'train_cfg.accept_weak_teacher=True.')


def _scalars(metrics: Dict[str, Any]) -> Dict[str, float]:
    """Numbers, and means of lists of numbers."""
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
            # Of several thresholds, the one that leaves the most.
            return max(names, key=known.get)
        if names:
            return names[0]
    return None


def _find_chance(name: str, values: Dict[str, float],
                 num_classes: Optional[int],
                 labels: Optional[np.ndarray]) -> Optional[Chance]:
    """The chance of one metric; None where it is not known."""
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
        # The mean average precision of a random order of N images, R of them
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
