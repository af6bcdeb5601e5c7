# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ...adapters import build_adapter
from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class EmbeddingLoss(JointLoss):
    r"""Distance between the embeddings: FitNet at the last layer.

    With L2 as the distance and :math:`r` a linear map (the identity if the
    embeddings have the same size), it is the mean over elements of

    .. math::
        L = \| r(s) - t \|^2

    FitNets (arXiv 1412.6550, Eq. 3) compares a middle layer this way. At the
    embedding it is the usual distillation baseline in face recognition, there
    mostly with the cosine, ``mimic_loss=dict(type='CosineMimicLoss')``.

    Args:
        weight (float): Loss weight. Defaults to 1.
        mimic_loss (dict): Config of the distance. Defaults to
            ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the adapter to the teacher's size. Defaults
            to ``dict(type='ConvAdapter')``.

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
        """Build the adapter."""
        self.adapter = build_adapter(self._adapter_cfg,
                                     student.embedding.shape,
                                     teacher.embedding.shape)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss from the embeddings."""
        source, target = MimicLoss._promote(student.embedding,
                                            teacher.embedding)
        return self.mimic_loss(self.adapter(source, target.shape), target)
