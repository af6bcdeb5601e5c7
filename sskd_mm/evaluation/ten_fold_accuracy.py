# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

#: Thresholds on the squared L2 distance of unit-length embeddings.
THRESHOLDS = np.arange(0, 4, 0.01)


class FoldAccuracy(NamedTuple):
    """Accuracy of each fold, and the threshold used for it."""
    accuracies: np.ndarray
    thresholds: np.ndarray

    @property
    def mean(self) -> float:
        """Mean accuracy over folds."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Population standard deviation over folds, as in public code."""
        return float(self.accuracies.std())


def ten_fold_accuracy(distances: np.ndarray,
                      same: np.ndarray,
                      folds: int = 10) -> FoldAccuracy:
    """Compute 1:1 verification accuracy by the LFW protocol.

    The pairs are split into folds in their given order, so each tenth of a
    list needs both genuine and impostor pairs, as in LFW; otherwise there is
    a warning. The threshold of each fold is the best one on the others: of 0,
    0.01, ..., 3.99 the lowest with the highest accuracy. A pair counts as
    genuine if its distance is below the threshold.

    Source: Huang et al., Labeled Faces in the Wild, 2007, "view 2"; the
    thresholds are those of FaceNet's and insightface's public code.

    Args:
        distances (np.ndarray): Squared L2 distances of pairs, shape (P, ).
        same (np.ndarray): Whether a pair is genuine, shape (P, ), bool.
        folds (int): The number of folds. Defaults to 10.

    Returns:
        FoldAccuracy: The accuracy, with ``mean`` and ``std``.

    Raises:
        ValueError: There are fewer pairs than folds, a distance is NaN, or
            the lengths differ.
    """
    same = np.asarray(same, bool)
    if len(distances) != len(same):
        raise ValueError(f'{len(distances)} distances, but {len(same)} '
                         'labels.')
    if len(same) < folds:
        raise ValueError(f'{len(same)} pairs are too few for {folds} folds.')
    if np.isnan(distances).any():
        raise ValueError(f'{int(np.isnan(distances).sum())} of {len(same)} '
                         'distances are NaN.')
    kinds = [{*fold.tolist()} for fold in np.array_split(same, folds)]
    single = sum(len(kind) == 1 for kind in kinds)
    if single and len({*same.tolist()}) == 2:
        print_log(
            f'{single} of {folds} folds have only genuine or only impostor '
            'pairs, so the deviation of the accuracy over folds is '
            'meaningless, and thresholds were chosen on other proportions. '
            'Folds follow the order of the list: mix both kinds in it.',
            logger='current',
            level=logging.WARNING)
    from sklearn.model_selection import KFold  # takes a second to import

    # The first threshold at which a pair is accepted.
    accepted = np.searchsorted(THRESHOLDS, distances, side='right')

    def correct(pairs: np.ndarray) -> np.ndarray:
        """Count correct pairs at each threshold."""
        genuine, impostor = (
            np.bincount(accepted[pairs[same[pairs] == label]],
                        minlength=len(THRESHOLDS) + 1)[:-1].cumsum()
            for label in (True, False))
        return genuine + (~same[pairs]).sum() - impostor

    accuracies, chosen = [], []
    for others, fold in KFold(folds).split(distances):
        best = np.argmax(correct(others))
        accuracies.append(correct(fold)[best] / len(fold))
        chosen.append(THRESHOLDS[best])
    return FoldAccuracy(np.array(accuracies), np.array(chosen))
