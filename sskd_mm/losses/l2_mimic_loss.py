# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .positionwise_mimic_loss import PositionwiseMimicLoss


@MODELS.register_module()
class L2MimicLoss(PositionwiseMimicLoss):
    r"""Squared L2 distance between a student's and a teacher's feature.

    The features are compared without any processing, as the paper has it
    (SSKD, arXiv 1812.01819: feature maps are matched directly with an L2
    distance). With :math:`n` the number of elements,

    .. math::
        L = \frac{1}{n} \sum_i (s_i - t_i)^2
        \quad\text{or}\quad
        L = \frac{\sum_i (s_i - t_i)^2}{\sum_i t_i^2}

    The second form (``normalize=True``) has no unit: 1 is what an output of
    zeros scores, 0 is a perfect copy. It makes one learning rate serve taps
    whose features differ in size by orders of magnitude, which plain L2 does
    not; that is why the shipped recipes use it. The paper does not say how
    its loss is reduced, so plain ``normalize=False`` with a mean over all
    elements is this project's reading of it, and the default.

    Args:
        normalize (bool): Whether to divide by the energy of the teacher's
            feature in the batch. Defaults to False.
        foreground (float, optional): The share of the loss that the objects
            of a detector's data have, see :class:`PositionwiseMimicLoss`.
            Defaults to none: all positions count alike.

    Example:
        >>> mimic_loss = dict(type='L2MimicLoss', normalize=True)
    """

    def __init__(self,
                 normalize: bool = False,
                 foreground: Optional[float] = None) -> None:
        super().__init__(foreground)
        self.normalize = normalize

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
        # Keeps no difference for the backward pass, as (s - t)**2 would.
        loss = self._mean_of(F.mse_loss, student, teacher, mask)
        if self.normalize:
            # A teacher that outputs nothing but zeros would divide by zero.
            energy = self._mean(teacher.square(), mask)
            loss = loss / energy.clamp_min(1e-12)
        return loss
