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

    Only directions count: the loss does not change if either feature is
    scaled, by one factor or by one a position. It is 0 for equal directions,
    1 for orthogonal and 2 for opposite ones. A silent vector (all zeros) has
    no direction; its cosine counts as 0, whatever it is compared with, and
    it gets no gradient.

    Args:
        foreground (float, optional): The share of the loss that a detector's
            objects have, see :class:`PositionwiseMimicLoss`. Defaults to
            none: all positions count alike.

    Example:
        >>> mimic_loss = dict(type='CosineMimicLoss')
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
        return self._mean(1 - (student * teacher).sum(1), mask)
