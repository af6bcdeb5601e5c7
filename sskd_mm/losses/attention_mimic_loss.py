# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class AttentionMimicLoss(MimicLoss):
    r"""Squared distance between spatial attention maps (AT).

    AT (*Paying More Attention to Attention*, arXiv 1612.03928) sums up a
    feature in one map, which says where the network is active at all:

    .. math::
        Q(A) = \frac{1}{C} \sum_c |A_c|^p
        \qquad
        L = \frac{1}{N H W} \sum_n \left\|
            \frac{Q(s_n)}{\|Q(s_n)\|} - \frac{Q(t_n)}{\|Q(t_n)\|} \right\|^2

    The norms are over the positions of a sample. The paper's loss is not
    divided by the number of positions; the authors' code takes this mean,
    and so does this. That makes the loss small: its largest value is
    :math:`2 / (H W)`.

    The two features may differ in their channels, so this loss needs no
    adapter for them. It does not change if a sample of either feature is
    scaled. A silent sample (all zeros) stays a map of zeros and gets no
    gradient.

    Args:
        power (float): The exponent :math:`p`. The larger it is, the more the
            strongest activations count. Defaults to 2.

    Raises:
        ValueError: ``power`` is less than 1, where the gradient at 0 would
            not be finite.

    Example:
        >>> mimic_loss = dict(type='AttentionMimicLoss', power=2)
    """

    def __init__(self, power: float = 2) -> None:
        super().__init__()
        if power < 1:
            raise ValueError(f'power is {power}; it has to be 1 or more.')
        self.power = power

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
                of the above or have one position only, where the loss would
                always be 0.
        """
        student, teacher = self._prepare_maps(student, teacher, 'attention')
        return (self._attention(student) -
                self._attention(teacher)).square().mean()

    def _attention(self, feature: Tensor) -> Tensor:
        attention = feature.abs().pow(self.power).mean(1)
        return self._unit_length(attention.flatten(1), dim=1)
