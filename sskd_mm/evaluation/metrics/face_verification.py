# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional, Sequence

import numpy as np
from mmengine.registry import METRICS

from ..all_pairs import all_pairs
from ..collect_pairs import collect_pairs
from ..verification import Verification
from .face_metric import FaceMetric, Faces


@METRICS.register_module()
class FaceVerification(FaceMetric):
    """1:1 verification: do two images show the same person?

    If the data set has pairs (``FaceBin``, ``FacePairs``), these are scored,
    with ten-fold accuracy. If it has labels, all pairs of its images are
    scored, without folds; their number grows with the square of the number of
    images.

    Several data sets with pairs in a ``ConcatDataset`` are scored separately
    and named by their files, such as ``face/lfw/accuracy`` and
    ``face/cfp_fp/accuracy``; ``face/accuracy`` and the others are the means.

    Metrics, in percent: ``face/accuracy`` and ``face/accuracy_std`` (see
    :func:`~sskd_mm.evaluation.ten_fold_accuracy`); ``face/TAR@FAR=x``, the
    largest TAR with FAR <= x; ``face/nearest_TAR@FAR=x``, the TAR at the
    operating point with the nearest FAR; ``face/AUC`` and ``face/EER``.

    Args:
        fars (Sequence[float]): FARs at which to report TAR. Defaults to
            (0.1, 0.01, 0.001).
        folds (int): The number of folds. Defaults to 10.
        collect_device (str): See :class:`FaceMetric`. Defaults to ``'cpu'``.
        prefix (str, optional): See :class:`FaceMetric`.

    Raises:
        ValueError: See :class:`~sskd_mm.evaluation.Verification`.

    Example:
        >>> val_dataloader = dict(
        ...     dataset=dict(type='FaceBin', ann_file='data/faces/lfw.bin',
        ...                  pipeline=[dict(type='PackInputs')]), ...)
        >>> val_evaluator = dict(type='FaceVerification')
    """

    def __init__(self,
                 fars: Sequence[float] = (0.1, 0.01, 0.001),
                 folds: int = 10,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device, prefix)
        self.fars = fars
        self.folds = folds

    def score(self, faces: Faces) -> Dict[str, float]:
        """See :meth:`FaceMetric.score`."""
        paired = [pairs is not None for pairs in faces.pairs]
        if not any(paired):
            pairs = (self.dataset_meta or {}).get('pairs')
            if pairs is None:
                return self._verify(faces, all_pairs(self._labels(faces)))
            return self._verify(faces, pairs, self.folds)
        if not all(paired):
            raise ValueError(
                f'{len(paired) - sum(paired)} of {len(paired)} images come '
                'without pairs. FaceVerification scores data sets with pairs, '
                'such as FaceBin, or with labels, but not both together.')
        figures = {
            name: self._verify(faces, pairs, self.folds)
            for name, pairs in collect_pairs(faces.pairs).items()
        }
        if len(figures) == 1:
            return next(iter(figures.values()))
        result = {
            key: float(np.mean([values[key] for values in figures.values()]))
            for key in next(iter(figures.values())) if key != 'accuracy_std'
        }
        for name, values in figures.items():
            result.update((f'{name}/{k}', v) for k, v in values.items())
        return result

    def _verify(self,
                faces: Faces,
                pairs: Sequence[np.ndarray],
                folds: Optional[int] = None) -> Dict[str, float]:
        return Verification(
            faces.embeddings, *pairs, folds=folds).summary(self.fars)
