# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class AttentionMimicLoss(MimicLoss):
    r"""Squared distance between spatial attention maps (AT).

    AT (*Paying More Attention to Attention*, arXiv 1612.03928) reduces a
    feature to one map of where the network is active:

    .. math::
        Q(A) = \frac{1}{C} \sum_c |A_c|^p
        \qquad
        L = \frac{1}{N H W} \sum_n \left\|
            \frac{Q(s_n)}{\|Q(s_n)\|} - \frac{Q(t_n)}{\|Q(t_n)\|} \right\|^2

    The norms run over the positions of a sample. The paper's loss is not
    divided by the number of positions; like the authors' code, this one is.
    That makes it small: at most :math:`2 / (H W)`.

    The features may have different numbers of channels, so this loss needs no
    adapter for them. Scaling a sample of either feature does not change it.
    An all-zero sample stays zero and gets no gradient.

    Args:
        power (float): The exponent :math:`p`. A larger one gives the
            strongest activations more weight. Defaults to 2.

    Raises:
        ValueError: ``power`` is below 1, where the gradient at 0 is infinite.

    Example:
        >>> mimic_loss = dict(type='AttentionMimicLoss', power=2)
    """

    def __init__(self, power: float = 2) -> None:
        super().__init__()
        if power < 1:
            raise ValueError(f'power is {power}; it must be at least 1.')
        self.power = power

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
                the above, or have a single position, where the loss is
                always 0.
        """
        student, teacher = self._prepare_maps(student, teacher, 'attention')
        return (self._attention(student) -
                self._attention(teacher)).square().mean()

    def _attention(self, feature: Tensor) -> Tensor:
        attention = feature.abs().pow(self.power).mean(1)
        return self._unit_length(attention.flatten(1), dim=1)
