# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Dict, Optional, Sequence

import numpy as np
from mmengine.logging import print_log
from torch import Tensor

from .normalize_embeddings import normalize_embeddings
from .pair_distances import pair_distances
from .roc_curve import RocCurve
from .ten_fold_accuracy import FoldAccuracy, ten_fold_accuracy


class Verification:
    """1:1 verification of a list of pairs.

    Args:
        embeddings (Tensor): Embeddings of all images, shape (N, D), on any
            device; they are normalised here.
        first (np.ndarray): Image of each pair, shape (P, ), int.
        second (np.ndarray): The other image, shape (P, ), int.
        same (np.ndarray): Whether both show the same person, shape (P, ),
            bool.
        folds (int, optional): Folds for accuracy, see
            :func:`ten_fold_accuracy`. It depends on the order of pairs, so
            omit it if that order is meaningless. Defaults to None.
        block_size (int): Pairs per block. Defaults to 16384.
        allow_failures (bool): Whether embeddings may be all zeros, e.g. for
            templates without any embedded face. Their pairs get the lowest
            similarity, -1: a genuine pair is missed, an impostor pair
            rejected. Defaults to False.

    Raises:
        ValueError: An embedding is NaN or zero, there are only genuine or
            only impostor pairs, or too few for the folds.

    Attributes:
        same (np.ndarray): As given.
        similarities (np.ndarray): Cosine similarities, shape (P, ).
        roc (RocCurve): Errors at every threshold.
        folds (FoldAccuracy, optional): Accuracy by folds.
    """

    def __init__(self,
                 embeddings: Tensor,
                 first: np.ndarray,
                 second: np.ndarray,
                 same: np.ndarray,
                 folds: Optional[int] = None,
                 block_size: int = 16384,
                 allow_failures: bool = False) -> None:
        embeddings = normalize_embeddings(
            embeddings, allow_failures=allow_failures)
        distances = pair_distances(embeddings, first, second, block_size)
        failed = ~embeddings.any(1).cpu().numpy()
        distances[failed[first] | failed[second]] = 4
        self.same = np.asarray(same, bool)
        self.similarities = 1 - distances / 2
        self.roc = RocCurve(self.similarities, self.same)
        self.folds: Optional[FoldAccuracy] = None
        if folds is not None:
            self.folds = ten_fold_accuracy(distances, self.same, folds)

    def summary(self, fars: Sequence[float]) -> Dict[str, float]:
        """Compute the metrics to report, in percent.

        Args:
            fars (Sequence[float]): FARs at which to report TAR, from 0 to 1.
                There is a warning if there are too few impostor pairs to
                measure one.

        Returns:
            dict[str, float]: ``accuracy`` and ``accuracy_std`` if there are
            folds, ``TAR@FAR=x`` and ``nearest_TAR@FAR=x`` for each x,
            ``AUC`` and ``EER``.
        """
        result = {}
        if self.folds is not None:
            result.update(
                accuracy=self.folds.mean, accuracy_std=self.folds.std)
        for far in fars:
            if far * self.roc.impostors < 1:
                print_log(
                    f'TAR@FAR={far:g}: {self.roc.impostors} impostor pairs '
                    'are too few to measure this. The value is the TAR with '
                    'none of them accepted.',
                    logger='current',
                    level=logging.WARNING)
            result[f'TAR@FAR={far:g}'] = self.roc.tar_at_far(far)
        for far in fars:
            result[f'nearest_TAR@FAR={far:g}'] = (
                self.roc.nearest_tar_at_far(far))
        result.update(AUC=self.roc.auc, EER=self.roc.eer)
        return {name: 100 * value for name, value in result.items()}
