# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np


class RocCurve:
    """The errors of 1:1 verification at every threshold.

    A pair is accepted as genuine if its similarity is at or above the
    threshold. FAR is the fraction of impostor pairs that are accepted, TAR
    that of genuine pairs. Pairs of equal similarity are accepted together.

    Args:
        similarities (np.ndarray): Similarities of the pairs, shape (P, ).
        same (np.ndarray): Whether a pair is genuine, shape (P, ), bool.

    Raises:
        ValueError: There is no genuine or no impostor pair, a similarity is
            NaN, or the lengths differ.

    Attributes:
        far (np.ndarray): FAR of each operating point, rising from 0 to 1.
        tar (np.ndarray): TAR of each operating point.
        threshold (np.ndarray): Lowest accepted similarity at each point.

    Example:
        >>> curve = RocCurve(np.array([.9, .8, .3]),
        ...                  np.array([True, False, False]))
        >>> curve.tar_at_far(0.1)
        1.0
    """

    def __init__(self, similarities: np.ndarray, same: np.ndarray) -> None:
        same = np.asarray(same, bool)
        if len(similarities) != len(same):
            raise ValueError(f'{len(similarities)} similarities, but '
                             f'{len(same)} labels.')
        self.genuine = int(same.sum())
        self.impostors = len(same) - self.genuine
        if not self.genuine or not self.impostors:
            raise ValueError(
                f'There are {self.genuine} genuine and {self.impostors} '
                'impostor pairs: FAR and TAR need both. Check that the list '
                'of pairs is complete.')
        if np.isnan(similarities).any():
            raise ValueError(f'{int(np.isnan(similarities).sum())} of '
                             f'{len(same)} similarities are NaN.')
        from sklearn.metrics import roc_curve  # takes a second to import
        self.far, self.tar, self.threshold = roc_curve(
            same, similarities, drop_intermediate=False)

    @property
    def auc(self) -> float:
        """Area under TAR over FAR."""
        from sklearn.metrics import auc
        return float(auc(self.far, self.tar))

    @property
    def eer(self) -> float:
        """Equal error rate: the mean of FAR and 1 - TAR where they are
        closest."""
        frr = 1 - self.tar
        point = np.argmin(np.abs(self.far - frr))
        return float((self.far[point] + frr[point]) / 2)

    def tar_at_far(self, far: float) -> float:
        """Get the largest TAR with a FAR of at most ``far``.

        If ``far`` is below one over the number of impostor pairs, this is the
        TAR without any false acceptance, and no more than that.

        Args:
            far (float): From 0 to 1.

        Returns:
            float: TAR, from 0 to 1.
        """
        return float(self.tar[self.far <= far].max())

    def nearest_tar_at_far(self, far: float) -> float:
        """Get the TAR at the operating point whose FAR is nearest to ``far``.

        Public code for IJB-B and IJB-C reports this. The FAR can exceed
        ``far``, so the value is optimistic if there are few impostor pairs.
        Of several equally near points the best counts.

        Args:
            far (float): From 0 to 1.

        Returns:
            float: TAR, from 0 to 1.
        """
        distance = np.abs(self.far - far)
        return float(self.tar[distance == distance.min()].max())
