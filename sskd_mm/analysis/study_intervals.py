# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from ..evaluation import percentile_interval

#: OpenMMLab rounds an average precision to three digits.
_ROUNDING = 5.001e-4


def read_bootstrap(folder: Path, metric: str, measured: float) -> np.ndarray:
    """Read how a metric of a finished training varies with the images.

    Args:
        folder (Path): The training's folder.
        metric (str): Name of the metric.
        measured (float): Its value in the last validation.

    Returns:
        np.ndarray: The metric in each resample of the images, shape
        (resamples, ).

    Raises:
        ValueError: Says why there is none.
    """
    file = folder / 'bootstrap.npz'
    if not file.exists():
        raise ValueError('the training left no results of single images, as '
                         'in older versions')
    with np.load(file) as content:
        known = dict(zip(content['names'].tolist(), content['scores']))
    if metric not in known:
        raise ValueError(
            f'{metric} cannot be resampled by images. Accuracy and COCO\'s '
            'average precision can; faces are scored in pairs')
    score, *resampled = known[metric]
    if abs(score - measured) > _ROUNDING:
        raise ValueError(f'the results of single images give {score:.5g}, '
                         f'but the training measured {measured:.5g}')
    return np.array(resampled)


def interval_cell(row: Dict[str, Any], digits: int) -> str:
    """Format the 95 % interval of the mean over seeds of a row.

    Each resample draws the same images for all seeds.

    Args:
        row (dict): ``results`` of its seeds, each with ``bootstrap``, the
            result of :func:`read_bootstrap` or None.
        digits (int): Decimal places.

    Returns:
        str: Such as ``'[71.40, 73.12]'``; empty if a seed has none.
    """
    resampled = _mean([each['bootstrap'] for each in row['results']])
    if resampled is None:
        return ''
    return '[{:.{d}f}, {:.{d}f}]'.format(
        *percentile_interval(resampled), d=digits)


def difference_cell(reference: Dict[str, Any], row: Dict[str, Any],
                    digits: int) -> str:
    """Format by how much a row is behind the reference.

    The difference is paired: over the seeds that both rows have, and in each
    resample over the same images.

    Args:
        reference (dict): The row of the reference: ``seeds`` and
            ``results``, each with ``last`` and ``bootstrap``.
        row (dict): Another row.
        digits (int): Decimal places.

    Returns:
        str: The difference and its 95 % interval, such as ``'+0.86 [+0.31,
        +1.42]'``, or ``'+0.20 [-0.31, +0.70], includes 0'``; empty if there
        is no common seed or one has no resamples.
    """
    ours, theirs = (dict(zip(each['seeds'], each['results']))
                    for each in (reference, row))
    pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    left, right = (_mean([pair[side]['bootstrap'] for pair in pairs])
                   for side in (0, 1))
    if left is None or right is None:
        return ''
    low, high = percentile_interval(left - right)
    mean = np.mean([x['last'] - y['last'] for x, y in pairs])
    cell = '{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]'.format(
        mean, low, high, d=digits)
    return cell if low > 0 or high < 0 else f'{cell}, includes 0'


def list_missing(rows: Sequence[Dict[str, Any]]) -> List[str]:
    """List which rows have no interval.

    Args:
        rows (Sequence[dict]): Rows with ``name``, ``seeds`` and ``results``,
            each of which has ``no_bootstrap``, the reason, if it has no
            resamples.

    Returns:
        list[str]: One line per reason.
    """
    found: Dict[str, Dict[str, list]] = {}
    for row in rows:
        for seed, result in zip(row['seeds'], row['results']):
            if result['bootstrap'] is None:
                names = found.setdefault(result['no_bootstrap'], {})
                names.setdefault(row['name'], []).append(str(seed))
    return [
        'No interval for ' + '; '.join(
            f'{name} (seed{"s" * (len(seeds) > 1)} {", ".join(seeds)})'
            for name, seeds in names.items()) + f': {reason}.'
        for reason, names in found.items()
    ]


def _mean(resampled: Sequence[Optional[np.ndarray]]) -> Optional[np.ndarray]:
    """The mean over seeds, in each resample."""
    if not resampled or any(each is None for each in resampled):
        return None
    return np.mean(resampled, axis=0)
