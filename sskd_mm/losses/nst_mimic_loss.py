# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class NSTMimicLoss(MimicLoss):
    r"""Distance between the distributions of channels (NST).

    NST (*Like What You Like: Knowledge Distill via Neuron Selectivity
    Transfer*, arXiv 1707.01219) takes the channels of a feature as samples
    of a distribution over spatial patterns, and compares two distributions
    by their squared maximum mean discrepancy (Eqs. 4 and 5). With
    :math:`s_i, t_j` the channels, of unit length over positions, and the
    polynomial kernel :math:`k(x, y) = (x^\top y)^2`, its best one,

    .. math::
        L = \frac{1}{N} \sum_n \left(
            \frac{1}{C_t^2} \sum_{j, j'} k(t_j, t_{j'})
            + \frac{1}{C_s^2} \sum_{i, i'} k(s_i, s_{i'})
            - \frac{2}{C_s C_t} \sum_{i, j} k(s_i, t_j) \right)

    The paper adds half of it times a weight. The two features may differ in
    their channels, so this loss needs no adapter for them. A silent channel
    (all zeros) stays so and gets no gradient.

    Example:
        >>> mimic_loss = dict(type='NSTMimicLoss')
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss, in float32 where the features are of less.

        Args:
            student (Tensor): Feature map (N, C, H, W) or tokens (N, L, C),
                of more than one position.
            teacher (Tensor): Feature of the same shape, but for the number
                of channels.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The two shapes differ in more than channels, are none
                of the above or have one position only, where all channels
                are alike.
        """
        student, teacher = self._prepare_maps(student, teacher, 'pattern')
        student = self._unit_length(student.flatten(2), dim=2)
        teacher = self._unit_length(teacher.flatten(2), dim=2)
        return (self._kernel(teacher, teacher) +
                self._kernel(student, student) -
                2 * self._kernel(student, teacher))

    @staticmethod
    def _kernel(a: Tensor, b: Tensor) -> Tensor:
        """Its mean over all pairs of channels, and over samples."""
        # Autocast would multiply in half precision.
        with torch.autocast(a.device.type, enabled=False):
            return (a @ b.transpose(1, 2)).square().mean()
