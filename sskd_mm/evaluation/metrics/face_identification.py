# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional, Sequence

from mmengine.registry import METRICS

from ..identify import identify
from .face_metric import FaceMetric, Faces


@METRICS.register_module()
class FaceIdentification(FaceMetric):
    """1:N identification: who of a gallery is on an image?

    The data set needs labels. The first images of each person are the
    gallery, pooled into one template, the others are probes. For the closed
    set all people are in the gallery. For the open set there are two
    galleries, every other person being in the second; each is scored apart
    and the figures are averaged, as in IJB-B and IJB-C.

    Figures, in percent: ``face/rank-k``, ``face/TPIR@FPIR=x``, the largest
    TPIR with FPIR <= x, and ``face/first_TPIR@FPIR=x``, in which the mate must
    also be first in rank.

    Args:
        ranks (Sequence[int]): Defaults to (1, 5).
        fpirs (Sequence[float]): Defaults to (0.1, 0.01). With none, as for a
            set with one person, there is no open set.
        gallery (int): Images of each person in the gallery. Defaults to 1.
        collect_device (str): See :class:`FaceMetric`. Defaults to ``'cpu'``.
        prefix (str, optional): See :class:`FaceMetric`.

    Raises:
        ValueError: See :func:`~sskd_mm.evaluation.identify`.

    Example:
        >>> val_evaluator = [dict(type='FaceVerification'),
        ...                  dict(type='FaceIdentification', ranks=(1, ))]
    """

    def __init__(self,
                 ranks: Sequence[int] = (1, 5),
                 fpirs: Sequence[float] = (0.1, 0.01),
                 gallery: int = 1,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device, prefix)
        self.ranks = ranks
        self.fpirs = fpirs
        self.gallery = gallery

    def score(self, faces: Faces) -> Dict[str, float]:
        """See :meth:`FaceMetric.score`."""
        labels = self._labels(faces)
        result = identify(faces.embeddings, labels, self.gallery).summary(
            self.ranks, ())
        if self.fpirs:
            opened = identify(
                faces.embeddings, labels, self.gallery,
                open_set=True).summary((1, ), self.fpirs)
            result.update({k: v for k, v in opened.items() if 'TPIR' in k})
        return result
