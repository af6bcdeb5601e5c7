# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .positionwise_mimic_loss import PositionwiseMimicLoss


@MODELS.register_module()
class L2MimicLoss(PositionwiseMimicLoss):
    r"""Squared L2 distance between a student's and a teacher's feature.

    The features are compared unprocessed, as in the SSKD paper (arXiv
    1812.01819), which matches feature maps directly by L2 distance. With
    :math:`n` the number of elements,

    .. math::
        L = \frac{1}{n} \sum_i (s_i - t_i)^2
        \quad\text{or}\quad
        L = \frac{\sum_i (s_i - t_i)^2}{\sum_i t_i^2}

    The second form (``normalize=True``) is dimensionless: an all-zero output
    scores 1, a perfect copy 0. One learning rate then suits taps whose
    features differ by orders of magnitude, so the shipped recipes use it. The
    paper does not give its reduction; the default, a plain mean over all
    elements, is this project's reading of it.

    Args:
        normalize (bool): Whether to divide by the energy of the teacher's
            feature in the batch. Defaults to False.
        foreground (float, optional): Weight of the objects in a detector's
            data, see :class:`PositionwiseMimicLoss`. By default all positions
            count equally.

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
        # Unlike (s - t)**2, this stores no difference for the backward pass.
        loss = self._mean_of(F.mse_loss, student, teacher, mask)
        if self.normalize:
            # An all-zero teacher feature would mean division by zero.
            energy = self._mean(teacher.square(), mask)
            loss = loss / energy.clamp_min(1e-12)
        return loss
