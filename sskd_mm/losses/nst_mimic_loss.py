# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class NSTMimicLoss(MimicLoss):
    r"""Distance between the distributions of channels (NST).

    NST (*Like What You Like: Knowledge Distill via Neuron Selectivity
    Transfer*, arXiv 1707.01219) treats the channels of a feature as samples
    from a distribution over spatial patterns, and compares two distributions
    by their squared maximum mean discrepancy (Eqs. 4 and 5). With
    :math:`s_i, t_j` the channels, normalised to unit length over positions,
    and the polynomial kernel :math:`k(x, y) = (x^\top y)^2`, the paper's best,

    .. math::
        L = \frac{1}{N} \sum_n \left(
            \frac{1}{C_t^2} \sum_{j, j'} k(t_j, t_{j'})
            + \frac{1}{C_s^2} \sum_{i, i'} k(s_i, s_{i'})
            - \frac{2}{C_s C_t} \sum_{i, j} k(s_i, t_j) \right)

    The paper halves it and multiplies it by a weight. The features may have
    different numbers of channels, so this loss needs no adapter for them. An
    all-zero channel stays zero and gets no gradient.

    Example:
        >>> mimic_loss = dict(type='NSTMimicLoss')
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature map (N, C, H, W) or tokens (N, L, C),
                with more than one position.
            teacher (Tensor): Feature of the same shape, except for the number
                of channels.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The shapes differ in more than channels, are none of
                the above, or have a single position, where all channels are
                alike.
        """
        student, teacher = self._prepare_maps(student, teacher, 'pattern')
        student = self._unit_length(student.flatten(2), dim=2)
        teacher = self._unit_length(teacher.flatten(2), dim=2)
        return (self._kernel(teacher, teacher) +
                self._kernel(student, student) -
                2 * self._kernel(student, teacher))

    @staticmethod
    def _kernel(a: Tensor, b: Tensor) -> Tensor:
        """Average the kernel over all pairs of channels and over samples."""
        # Autocast would run this product in half precision.
        with torch.autocast(a.device.type, enabled=False):
            return (a @ b.transpose(1, 2)).square().mean()
