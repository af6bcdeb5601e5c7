# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.registry import MODELS
from torch import Tensor

from .positionwise_mimic_loss import PositionwiseMimicLoss


@MODELS.register_module()
class CosineMimicLoss(PositionwiseMimicLoss):
    r"""One minus the mean cosine between the channel vectors.

    The channels at each position :math:`p` of each sample form one vector.
    With :math:`P` the number of positions in the batch,

    .. math::
        L = 1 - \frac{1}{P} \sum_p
            \frac{\langle s_p, t_p \rangle}{\|s_p\| \|t_p\|}

    Only directions count: scaling either feature, by one factor or by one per
    position, does not change the loss. It is 0 for equal directions, 1 for
    orthogonal and 2 for opposite ones. An all-zero vector has no direction:
    its cosine with anything counts as 0, and it gets no gradient.

    Args:
        foreground (float, optional): Weight of the objects in a detector's
            data, see :class:`PositionwiseMimicLoss`. By default all positions
            count equally.

    Example:
        >>> mimic_loss = dict(type='CosineMimicLoss')
    """

    def forward(self,
                student: Tensor,
                teacher: Tensor,
                mask: Optional[Tensor] = None) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature map (N, C, H, W), tokens (N, L, C) or
                embeddings (N, C).
            teacher (Tensor): Feature of the same shape.
            mask (Tensor, optional): With ``foreground``, the cells that
                objects overlap, (N, H, W).

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The shapes differ or are none of the above.
        """
        student, teacher = self._prepare(student, teacher)
        student = self._unit_length(self._as_map(student), dim=1)
        teacher = self._unit_length(self._as_map(teacher), dim=1)
        return self._mean(1 - (student * teacher).sum(1), mask)
