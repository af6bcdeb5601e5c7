# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS

from ..attention_mimic_loss import AttentionMimicLoss
from .tapwise_loss import TapwiseLoss


@MODELS.register_module()
class ATLoss(TapwiseLoss):
    """Attention transfer added to the task loss (AT).

    The sum over taps of :class:`AttentionMimicLoss`, the formula of *Paying
    More Attention to Attention* (arXiv 1612.03928, Eq. 2) averaged over
    positions, as in the authors' code and CRD's comparison. The paper's own
    weight is divided by 2.

    Args:
        weight (float): Loss weight. Defaults to 1000,
            as in CRD's comparison (arXiv 1910.10699).

    Example:
        >>> losses = [dict(type='ATLoss', weight=1000)]
    """

    def __init__(self, weight: float = 1000) -> None:
        super().__init__(weight, AttentionMimicLoss())
