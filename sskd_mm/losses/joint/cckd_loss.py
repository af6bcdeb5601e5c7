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
    1904.01802, Section 3.3) compares the similarities between the embeddings
    of a batch, by a Gaussian kernel whose Taylor series is truncated after
    order :math:`P`. For embeddings of unit length,

    .. math::
        K(x_i, x_j) = \sum_{p=0}^{P} e^{-2\gamma} \frac{(2\gamma)^p}{p!}
            \langle x_i, x_j \rangle^p
        \qquad
        L = \frac{1}{N^2} \sum_{i,j} (K(s_i, s_j) - K(t_i, t_j))^2

    The two networks' embeddings may differ in size. The paper adds it to a
    loss that compares each sample with the teacher's (KD, or the embedding
    itself): list that one too. In distributed training each process compares
    the samples of its own part of the batch.

    Args:
        weight (float): Loss weight. Defaults to 1, a starting point.
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
        """Compute the unweighted loss from the embeddings."""
        embeddings = MimicLoss._promote(student.embedding, teacher.embedding)
        return F.mse_loss(*map(self._correlate, embeddings))

    def _correlate(self, embedding: Tensor) -> Tensor:
        """Compute the kernel of all pairs, (N, N)."""
        embedding = MimicLoss._unit_length(embedding, 1)
        # Autocast would run this product in half precision.
        with torch.autocast(embedding.device.type, enabled=False):
            cosines = embedding @ embedding.T
        return sum(
            math.exp(-2 * self.gamma) * (2 * self.gamma)**p /
            math.factorial(p) * cosines**p for p in range(self.order + 1))
