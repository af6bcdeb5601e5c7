# Copyright (c) sskd_mm authors. All rights reserved.
import logging
import os.path as osp
from typing import Dict, List, Sequence, Tuple

import numpy as np
from mmengine.logging import print_log


def collect_pairs(
    images: Sequence[dict]
) -> Dict[str, Tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Collect the pairs of images from one or several data sets.

    Args:
        images (Sequence[dict]): ``set`` and ``pairs`` of each image, see
            :class:`~sskd_mm.datasets.PairedFaces`.

    Returns:
        dict[str, tuple[np.ndarray]]: By name of the set (its file): row of
        the first image, row of the second, and whether they show the same
        person, each of shape (P, ), in the set's order. Pairs with a missing
        image are skipped with a warning.

    Raises:
        ValueError: No pair of a set has both of its images.
    """
    by_set: Dict[str, List[Tuple[int, np.ndarray]]] = {}
    for row, image in enumerate(images):
        by_set.setdefault(image['set'], []).append((row, image['pairs']))
    return {
        name: _join(file, by_set[file])
        for file, name in zip(by_set, _names(list(by_set)))
    }


def _join(
    file: str, images: List[Tuple[int, np.ndarray]]
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = np.concatenate([pairs for _, pairs in images])
    rows = np.repeat([row for row, _ in images],
                     [len(pairs) for _, pairs in images])
    count = pairs[:, 0].max(initial=-1) + 1
    found = np.full((count, 2), -1)
    found[pairs[:, 0], pairs[:, 1]] = rows
    same = np.zeros(count, bool)
    same[pairs[:, 0]] = pairs[:, 2]
    whole = (found >= 0).all(1)
    if not whole.any():
        raise ValueError(
            f'{file!r}: no pair has both of its images in the data set. Use '
            'more of them, or all, by indices or num_batch_per_epoch.')
    halves = (found >= 0).any(1).sum() - whole.sum()
    if halves:
        print_log(
            f'{file!r}: {halves} pairs have only one image in the data set '
            f'and are skipped; {whole.sum()} are scored.',
            logger='current',
            level=logging.WARNING)
    return found[whole, 0], found[whole, 1], same[whole]


def _names(files: List[str]) -> List[str]:
    """Name files by file name, or by path if two names are equal."""
    names = [osp.splitext(osp.basename(file))[0] for file in files]
    return names if len({*names}) == len(names) else files
