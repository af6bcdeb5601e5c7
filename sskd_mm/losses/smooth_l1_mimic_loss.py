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

    Quadratic up to :math:`\beta` and linear beyond, so that a few large
    activations of the teacher cannot dominate the gradient. With :math:`n`
    the number of elements and :math:`d = s - t` (Fast R-CNN, arXiv
    1504.08083, has it with :math:`\beta = 1`),

    .. math::
        L = \frac{1}{n} \sum_i \begin{cases}
            d_i^2 / (2 \beta) & \text{if } |d_i| < \beta \\
            |d_i| - \beta / 2 & \text{otherwise}
        \end{cases}

    Args:
        beta (float): Where the quadratic part ends. It has the unit of the
            features. Defaults to 1.0.
        foreground (float, optional): The share of the loss that the objects
            of a detector's data have, see :class:`PositionwiseMimicLoss`.
            Defaults to none: all positions count alike.

    Raises:
        ValueError: ``beta`` is not positive, or ``foreground`` is not from
            0 to 1.

    Example:
        >>> mimic_loss = dict(type='SmoothL1MimicLoss', beta=0.5)
    """

    def __init__(self,
                 beta: float = 1.0,
                 foreground: Optional[float] = None) -> None:
        super().__init__(foreground)
        if beta <= 0:
            raise ValueError(f'beta is {beta}; it has to be positive.')
        self.beta = beta

    def forward(self,
                student: Tensor,
                teacher: Tensor,
                mask: Optional[Tensor] = None) -> Tensor:
        """Compute the loss, in float32 where the features are of less.

        Args:
            student (Tensor): Feature of any shape, e.g. (N, C, H, W).
            teacher (Tensor): Feature of the same shape.
            mask (Tensor, optional): With ``foreground``, which cells objects
                reach into, (N, H, W).

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The two shapes differ, or they are no maps while
                ``foreground`` is set.
        """
        student, teacher = self._prepare(student, teacher)
        return self._mean_of(
            partial(F.smooth_l1_loss, beta=self.beta), student, teacher, mask)
