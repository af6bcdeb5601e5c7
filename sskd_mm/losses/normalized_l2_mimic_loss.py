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

    This is summed over channels and averaged over positions, so the number
    of channels does not change its size. As
    :math:`\|a - b\|^2 = 2 - 2 \langle a, b \rangle` for unit vectors, it is
    twice :class:`CosineMimicLoss`, from 0 to 4, as long as no vector is
    silent (all zeros). A silent vector stays zero and gets no gradient. It
    is at distance 0 from another silent one and 1 from all others, while
    the cosine loss takes it for orthogonal to both.

    Args:
        foreground (float, optional): The share of the loss that the objects
            of a detector's data have, see :class:`PositionwiseMimicLoss`.
            Defaults to none: all positions count alike.

    Example:
        >>> mimic_loss = dict(type='NormalizedL2MimicLoss')
    """

    def forward(self,
                student: Tensor,
                teacher: Tensor,
                mask: Optional[Tensor] = None) -> Tensor:
        """Compute the loss, in float32 where the features are of less.

        Args:
            student (Tensor): Feature map (N, C, H, W), tokens (N, L, C) or
                embeddings (N, C).
            teacher (Tensor): Feature of the same shape.
            mask (Tensor, optional): With ``foreground``, which cells objects
                reach into, (N, H, W).

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The two shapes differ or are none of the above.
        """
        student, teacher = self._prepare(student, teacher)
        student = self._unit_length(self._as_map(student), dim=1)
        teacher = self._unit_length(self._as_map(teacher), dim=1)
        return self._mean((student - teacher).square().sum(1), mask)
