# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.registry import MODELS
from torch import Tensor

from ..objects import Objects
from .adapted_loss import AdaptedLoss


@MODELS.register_module()
class FeatureLoss(AdaptedLoss):
    """The mimic loss of all taps added to the task loss.

    This is the control of stage-by-stage mimicking: the same taps, adapters
    and distance as schedule ``joint``, but trained together with the task and
    therefore with a weight. With a detector's FPN as tap it is common FPN
    imitation; with ``PearsonMimicLoss`` it is PKD, with
    ``ChannelWiseMimicLoss`` CWD, and with ``foreground`` it is close to FGFI.

    Args:
        weight (float): Weight of the loss, which is summed over taps.
            Defaults to 1.
        mimic_loss (dict): Config of the distance. Defaults to
            ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the adapter to the teacher's shape. Defaults
            to ``dict(type='ConvAdapter')``.

    Example:
        >>> losses = [dict(type='FeatureLoss', weight=1)]
    """

    def __init__(
        self,
        weight: float = 1,
        mimic_loss: dict = dict(type='L2MimicLoss'),
        adapter: dict = dict(type='ConvAdapter')
    ) -> None:
        super().__init__(weight, adapter)
        self.mimic_loss = MODELS.build(mimic_loss)
        if getattr(self.mimic_loss, 'foreground', None) is not None:
            self.needs = ('boxes', )

    def distance(self, number: int, student: Tensor, teacher: Tensor,
                 objects: Optional[Objects]) -> Tensor:
        """Compare one tap's features by the mimic loss."""
        if objects is None:
            return self.mimic_loss(student, teacher)
        return self.mimic_loss(student, teacher,
                               objects.mask(teacher.shape[-2:]))
