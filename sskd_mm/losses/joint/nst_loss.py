# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS

from ..nst_mimic_loss import NSTMimicLoss
from .tapwise_loss import TapwiseLoss


@MODELS.register_module()
class NSTLoss(TapwiseLoss):
    """Neuron selectivity transfer added to the task loss (NST).

    The sum over taps of :class:`NSTMimicLoss` (arXiv 1707.01219), the
    squared maximum mean discrepancy with the polynomial kernel, as in CRD's
    comparison.

    Args:
        weight (float): Loss weight. Defaults to 50, as in CRD's comparison
            (arXiv 1910.10699).

    Example:
        >>> losses = [dict(type='NSTLoss', weight=50)]
    """

    def __init__(self, weight: float = 50) -> None:
        super().__init__(weight, NSTMimicLoss())
