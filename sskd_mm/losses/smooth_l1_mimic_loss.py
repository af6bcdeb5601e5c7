# Copyright (c) sskd_mm authors. All rights reserved.
from functools import partial
from typing import Optional

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .positionwise_mimic_loss import PositionwiseMimicLoss


@MODELS.register_module()
class SmoothL1MimicLoss(PositionwiseMimicLoss):
    r"""Smooth L1 distance between a student's and a teacher's feature.

    Quadratic below :math:`\beta` and linear above, so that a few large
    activations of the teacher cannot dominate the gradient. With :math:`n`
    the number of elements and :math:`d = s - t` (:math:`\beta = 1` in Fast
    R-CNN, arXiv 1504.08083),

    .. math::
        L = \frac{1}{n} \sum_i \begin{cases}
            d_i^2 / (2 \beta) & \text{if } |d_i| < \beta \\
            |d_i| - \beta / 2 & \text{otherwise}
        \end{cases}

    Args:
        beta (float): Where the quadratic part ends, in units of the features.
            Defaults to 1.0.
        foreground (float, optional): Weight of the objects in a detector's
            data, see :class:`PositionwiseMimicLoss`. By default all positions
            count equally.

    Raises:
        ValueError: ``beta`` is not positive, or ``foreground`` is not between
            0 and 1.

    Example:
        >>> mimic_loss = dict(type='SmoothL1MimicLoss', beta=0.5)
    """

    def __init__(self,
                 beta: float = 1.0,
                 foreground: Optional[float] = None) -> None:
        super().__init__(foreground)
        if beta <= 0:
            raise ValueError(f'beta is {beta}; it must be positive.')
        self.beta = beta

    def forward(self,
                student: Tensor,
                teacher: Tensor,
                mask: Optional[Tensor] = None) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature of any shape, e.g. (N, C, H, W).
            teacher (Tensor): Feature of the same shape.
            mask (Tensor, optional): With ``foreground``, the cells that
                objects overlap, (N, H, W).

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The shapes differ, or ``foreground`` is set and the
                features are not maps.
        """
        student, teacher = self._prepare(student, teacher)
        return self._mean_of(
            partial(F.smooth_l1_loss, beta=self.beta), student, teacher, mask)
