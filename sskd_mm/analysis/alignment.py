# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Iterable, Sequence

import torch
from torch import Tensor


class Alignment:
    """Similarity of a student's features to a teacher's, over many batches.

    Three metrics, each over all positions of all images seen:

    - ``relative_l2``: :math:`\\lVert s-t \\rVert / \\lVert t \\rVert` of the
      adapted feature; 0 for a perfect copy, 1 for all zeros.
    - ``cosine``: mean cosine between the channel vectors of the adapted
      feature and the teacher's; 1 is best.
    - ``cka``: linear CKA (Kornblith et al., arXiv 1905.00414, equation 3)
      of the student's own feature, before the adapter; 1 is best. Rotating
      or scaling the channels does not change it.
    """

    def __init__(self) -> None:
        self._sums: Dict[str, Tensor] = {}
        self._count = 0

    def update(self, student: Tensor, adapted: Tensor,
               teacher: Tensor) -> None:
        """Add a batch.

        Args:
            student (Tensor): The student's feature: a map (N, C_s, H_s,
                W_s), tokens (N, L, C_s) or embeddings (N, C_s).
            adapted (Tensor): The same after its adapter, (N, C_t, ...).
            teacher (Tensor): The teacher's feature, (N, C_t, ...).
        """
        if student.dim() == 4 and student.shape[-2:] != teacher.shape[-2:]:
            student = torch.nn.functional.interpolate(
                student, size=teacher.shape[-2:], mode='bilinear')
        s, a, t = (_vectors(x).double() for x in (student, adapted, teacher))
        self._count += len(t)
        for name, value in dict(
                error=(a - t).square().sum(),
                energy=t.square().sum(),
                cosine=torch.cosine_similarity(a, t, dim=1).sum(),
                s=s.sum(0),
                t=t.sum(0),
                ss=s.T @ s,
                tt=t.T @ t,
                st=s.T @ t).items():
            self._sums[name] = self._sums.get(name, 0) + value

    def compute(self) -> Dict[str, float]:
        """Compute the three metrics over everything seen."""
        x, n = self._sums, self._count
        ss = x['ss'] - torch.outer(x['s'], x['s']) / n
        tt = x['tt'] - torch.outer(x['t'], x['t']) / n
        st = x['st'] - torch.outer(x['s'], x['t']) / n
        cka = st.square().sum() / (ss.norm() * tt.norm()).clamp_min(1e-12)
        return dict(
            relative_l2=float((x['error'] / x['energy']).sqrt()),
            cosine=float(x['cosine'] / n),
            cka=float(cka))


def _vectors(feature: Tensor) -> Tensor:
    """Flatten to the channel vectors of all positions, (M, C)."""
    if feature.dim() == 4:
        feature = feature.flatten(2).transpose(1, 2)
    return feature.flatten(0, -2)


# A compiled stage would be recompiled for every image shape.
@torch.compiler.set_stance('force_eager')
@torch.no_grad()
def measure_alignment(distiller, dataloader: Iterable, stages: Sequence[str],
                      batches: int) -> Dict[str, Dict[str, float]]:
    """Measure the alignment of a distiller's taps on a data set.

    Args:
        distiller (StageByStageDistiller): A distiller with its teacher.
        dataloader (Iterable): Yields batches for its data preprocessor.
        stages (Sequence[str]): Names of the stages.
        batches (int): Number of batches to use.

    Returns:
        dict[str, dict[str, float]]: The metrics of :class:`Alignment` by
        stage; for a tap with several levels, their mean.
    """
    mode = distiller.training
    distiller.eval()
    levels: Dict[str, list] = {}
    for index, batch in enumerate(dataloader):
        if index == batches:
            break
        data = distiller.data_preprocessor(batch, False)
        compared = distiller.compare(data['inputs'], stages,
                                     data.get('data_samples'))
        for name, pairs in compared.items():
            measures = levels.setdefault(name, [Alignment() for _ in pairs])
            for measure, pair in zip(measures, pairs):
                measure.update(*pair)
    distiller.train(mode)
    result = {}
    for name, measures in levels.items():
        values = [measure.compute() for measure in measures]
        result[name] = {
            key: sum(v[key] for v in values) / len(values)
            for key in values[0]
        }
    return result
