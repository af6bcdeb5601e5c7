# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.registry import MODELS
from torch import Tensor

from .positionwise_mimic_loss import PositionwiseMimicLoss


@MODELS.register_module()
class NormalizedL2MimicLoss(PositionwiseMimicLoss):
    r"""Squared L2 distance between channel vectors of unit length.

    The channels at each position :math:`p` of each sample form one vector,
    and each is divided by its own length. With :math:`P` the number of
    positions in the batch,

    .. math::
        L = \frac{1}{P} \sum_p \left\|
            \frac{s_p}{\|s_p\|} - \frac{t_p}{\|t_p\|} \right\|^2

    The sum runs over channels and the mean over positions, so the number of
    channels does not change the scale of the loss. Since
    :math:`\|a - b\|^2 = 2 - 2 \langle a, b \rangle` for unit vectors, it is
    twice :class:`CosineMimicLoss`, from 0 to 4, unless a vector is all zeros.
    Such a vector stays zero and gets no gradient. Its distance is 0 from
    another zero vector and 1 from any other, whereas the cosine loss treats
    it as orthogonal to both.

    Args:
        foreground (float, optional): Weight of the objects in a detector's
            data, see :class:`PositionwiseMimicLoss`. By default all positions
            count equally.

    Example:
        >>> mimic_loss = dict(type='NormalizedL2MimicLoss')
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
        return self._mean((student - teacher).square().sum(1), mask)
