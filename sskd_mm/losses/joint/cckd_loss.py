# Copyright (c) sskd_mm authors. All rights reserved.
import math

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class CCKDLoss(JointLoss):
    r"""Correlations between the samples of a batch (CCKD).

    CCKD (*Correlation Congruence for Knowledge Distillation*, arXiv
    1904.01802, Section 3.3) compares how alike the embeddings of a batch are,
    by a Gaussian kernel whose Taylor series is cut after the order :math:`P`.
    Of embeddings of length 1,

    .. math::
        K(x_i, x_j) = \sum_{p=0}^{P} e^{-2\gamma} \frac{(2\gamma)^p}{p!}
            \langle x_i, x_j \rangle^p
        \qquad
        L = \frac{1}{N^2} \sum_{i,j} (K(s_i, s_j) - K(t_i, t_j))^2

    The two networks' embeddings may differ in size. It is added to a loss
    between each sample and the teacher's in the paper (KD, or the embedding
    itself): write that one beside it. In distributed training each process
    compares the samples of its own part of the batch.

    Args:
        weight (float): What the loss is multiplied with. Defaults to 1, a
            value to start from.
        gamma (float): The :math:`\gamma`. Defaults to 0.4.
        order (int): The :math:`P`. Defaults to 2.

    Example:
        >>> losses = [dict(type='EmbeddingLoss'), dict(type='CCKDLoss')]
    """

    needs = ('embedding', )

    def __init__(self,
                 weight: float = 1,
                 gamma: float = 0.4,
                 order: int = 2) -> None:
        super().__init__(weight)
        self.gamma = gamma
        self.order = order

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight, from the embeddings."""
        embeddings = MimicLoss._promote(student.embedding, teacher.embedding)
        return F.mse_loss(*map(self._correlate, embeddings))

    def _correlate(self, embedding: Tensor) -> Tensor:
        """The kernel of all pairs, (N, N)."""
        embedding = MimicLoss._unit_length(embedding, 1)
        # Autocast would multiply in half precision.
        with torch.autocast(embedding.device.type, enabled=False):
            cosines = embedding @ embedding.T
        return sum(
            math.exp(-2 * self.gamma) * (2 * self.gamma)**p /
            math.factorial(p) * cosines**p for p in range(self.order + 1))
