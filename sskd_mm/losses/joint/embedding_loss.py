# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ...adapters import build_adapter
from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class EmbeddingLoss(JointLoss):
    r"""The embedding compared with the teacher's: FitNet at the last layer.

    With :math:`r` a linear map where the two networks' embeddings differ in
    size and nothing otherwise, and L2 as the distance, it is the mean over
    elements of

    .. math::
        L = \| r(s) - t \|^2

    FitNets (arXiv 1412.6550, Eq. 3) compares a layer in the middle so. At the
    embedding it is the usual baseline of distillation for face recognition,
    there mostly with the cosine, ``mimic_loss=dict(type='CosineMimicLoss')``.

    Args:
        weight (float): What the loss is multiplied with. Defaults to 1.
        mimic_loss (dict): Config of the distance. Defaults to
            ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the map to the teacher's size. Defaults to
            ``dict(type='ConvAdapter')``.

    Example:
        >>> losses = [
        >>>     dict(
        >>>         type='EmbeddingLoss',
        >>>         weight=10,
        >>>         mimic_loss=dict(type='CosineMimicLoss'))
        >>> ]
    """

    needs = ('embedding', )

    def __init__(
        self,
        weight: float = 1,
        mimic_loss: dict = dict(type='L2MimicLoss'),
        adapter: dict = dict(type='ConvAdapter')
    ) -> None:
        super().__init__(weight)
        self.mimic_loss = MODELS.build(mimic_loss)
        self._adapter_cfg = adapter

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the map."""
        self.adapter = build_adapter(self._adapter_cfg,
                                     student.embedding.shape,
                                     teacher.embedding.shape)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight, from the embeddings."""
        source, target = MimicLoss._promote(student.embedding,
                                            teacher.embedding)
        return self.mimic_loss(self.adapter(source, target.shape), target)
