# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class RKDLoss(JointLoss):
    r"""Distances and angles between the samples of a batch (RKD).

    RKD (*Relational Knowledge Distillation*, arXiv 1904.05068, Sections
    3.2.1 and 3.2.2) compares the relations between the embeddings :math:`x_i`
    of a batch rather than the embeddings themselves:

    .. math::
        \psi_D(x_i, x_j) = \frac{\|x_i - x_j\|}{\mu}
        \qquad
        \psi_A(x_i, x_j, x_k) = \langle e^{ij}, e^{kj} \rangle,
        \quad e^{ij} = \frac{x_i - x_j}{\|x_i - x_j\|}

    .. math::
        L = \frac{\lambda_D}{N^2} \sum_{i,j}
            h(\psi_D(s_i, s_j) - \psi_D(t_i, t_j))
            + \frac{\lambda_A}{N^3} \sum_{i,j,k}
            h(\psi_A(s_i, s_j, s_k) - \psi_A(t_i, t_j, t_k))

    with :math:`\mu` the mean distance between different samples and :math:`h`
    the Huber loss, quadratic up to 1. The paper sums; the means follow the
    public code that the default weights come from, where the :math:`N^2` and
    :math:`N^3` include pairs of a sample with itself.

    Shifting, rotating or scaling the embeddings does not change it, and the
    networks' embeddings may differ in width. If two samples coincide, there
    is no direction between them: it is treated as zero and gets no gradient.
    In distributed training each process compares the samples of its own part
    of the batch.

    Args:
        distance_weight (float): The :math:`\lambda_D`. Defaults to 25.
        angle_weight (float): The :math:`\lambda_A`. Defaults to 50, twice
            :math:`\lambda_D` as in the paper.
        weight (float): Loss weight. Defaults to 1.0, since
            :math:`\lambda_D` and :math:`\lambda_A` already weight it.

    Example:
        >>> loss = dict(type='RKDLoss')
    """

    needs = ('embedding', )

    def __init__(self,
                 distance_weight: float = 25.,
                 angle_weight: float = 50.,
                 weight: float = 1.0) -> None:
        super().__init__(weight)
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor): Not used.
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        embeddings = MimicLoss._promote(student.embedding, teacher.embedding)
        student_distances, student_angles = self._relate(embeddings[0])
        teacher_distances, teacher_angles = self._relate(embeddings[1])
        return (self.distance_weight *
                F.smooth_l1_loss(student_distances, teacher_distances) +
                self.angle_weight *
                F.smooth_l1_loss(student_angles, teacher_angles))

    @staticmethod
    def _relate(embedding: Tensor) -> Tuple[Tensor, Tensor]:
        """Compute distances (N, N) and cosines of angles (N, N, N)."""
        num_samples = len(embedding)
        # (N, N, C), first minus second. Distances computed from a Gram matrix
        # would lose close samples to rounding.
        differences = embedding[:, None] - embedding
        distances = torch.linalg.vector_norm(differences, dim=2)
        mean = distances.sum() / max(num_samples * (num_samples - 1), 1)
        # If all samples coincide, all distances are 0 in any unit.
        distances = distances / mean.masked_fill(mean == 0, torch.inf)
        # Angles are at the first sample.
        directions = MimicLoss._unit_length(differences, 2)
        # Autocast would run this product in half precision.
        with torch.autocast(embedding.device.type, enabled=False):
            angles = directions @ directions.transpose(1, 2)
        return distances, angles
