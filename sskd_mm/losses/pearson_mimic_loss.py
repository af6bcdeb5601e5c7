# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class PearsonMimicLoss(MimicLoss):
    r"""Half the squared distance between standardised features (PKD).

    PKD (*General Distillation Framework for Object Detectors via Pearson
    Correlation Coefficient*, arXiv 2207.02039) standardises each channel of
    each network to mean 0 and variance 1 over the :math:`m = N H W` positions
    of the batch, and takes half the mean squared error:

    .. math::
        L = \frac{1}{2 C m} \sum_{c, p} (\hat s_{cp} - \hat t_{cp})^2
          = 1 - \frac{1}{C} \sum_c r(s_c, t_c)

    with :math:`r` the Pearson correlation of a channel. The variance is the
    biased one, the mean of the squared deviations, for which the second
    equality is exact. The unbiased variance would scale the loss by
    :math:`(m - 1) / m`, which is negligible for a feature map.

    Shifting a channel of either feature, or scaling it by a positive factor,
    does not change the loss, so no channel outweighs another. A constant
    channel correlates with nothing: it is treated as zero, gets no gradient,
    and its distance from a varying channel is 1/2. In distributed training
    each process standardises over its own part of the batch.

    Example:
        >>> mimic_loss = dict(type='PearsonMimicLoss')
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature map (N, C, H, W), tokens (N, L, C) or
                embeddings (N, C).
            teacher (Tensor): Feature of the same shape.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The shapes differ or are none of the above.
        """
        student, teacher = self._prepare(student, teacher)
        student = self._standardize(self._as_map(student))
        teacher = self._standardize(self._as_map(teacher))
        # A standardised channel is a unit-length one times sqrt(m).
        return (student - teacher).square().sum((0, 2, 3)).mean() / 2

    def _standardize(self, feature: Tensor) -> Tensor:
        positions = (0, 2, 3)
        mean = feature.mean(positions, keepdim=True)
        centred = feature - mean
        variance = centred.square().mean(positions, keepdim=True)
        # Rounding leaves a constant channel a tiny variance, which must not
        # be scaled up to 1.
        constant = variance <= 1e-12 * mean.square()
        return self._unit_length(centred.masked_fill(constant, 0), positions)
