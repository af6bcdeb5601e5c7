# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional, Sequence

from mmengine.registry import METRICS

from ..identify import identify
from .face_metric import FaceMetric, Faces


@METRICS.register_module()
class FaceIdentification(FaceMetric):
    """1:N identification: which person of a gallery is in an image?

    The data set needs labels. The first images of each person, pooled into
    one template, are the gallery, and the others are probes. For closed-set
    identification all people are in the gallery. For open-set identification
    people are split alternately into two galleries; each is scored separately
    and the metrics are averaged, as in IJB-B and IJB-C.

    Metrics, in percent: ``face/rank-k``; ``face/TPIR@FPIR=x``, the largest
    TPIR with FPIR <= x; and ``face/first_TPIR@FPIR=x``, for which the mate
    must also rank first.

    Args:
        ranks (Sequence[int]): Ranks for closed-set identification. Defaults
            to (1, 5).
        fpirs (Sequence[float]): FPIRs for open-set identification, which is
            skipped if there are none, e.g. for a single person. Defaults to
            (0.1, 0.01).
        gallery (int): Images per person in the gallery. Defaults to 1.
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
