# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor, nn

from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class FeatureLoss(JointLoss):
    """What a mimic phase compares, beside the task's loss.

    The control of stage-by-stage mimicking: the same taps, adapters and
    distance as the schedule ``joint``, but at once with the task and so with
    a weight.

    Args:
        weight (float): What the loss, a sum over taps, is multiplied with.
            Defaults to 1.
        mimic_loss (dict): Config of the distance. Defaults to
            ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the map to the teacher's shape. Defaults to
            ``dict(type='ConvAdapter')``.

    Example:
        >>> losses = [dict(type='FeatureLoss', weight=1)]
    """

    def __init__(
        self,
        weight: float = 1,
        mimic_loss: dict = dict(type='L2MimicLoss'),
        adapter: dict = dict(type='ConvAdapter')
    ) -> None:
        super().__init__(weight)
        self.mimic_loss = MODELS.build(mimic_loss)
        self._adapter_cfg = adapter

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the adapters."""
        self.adapters = nn.ModuleList(
            MODELS.build(
                dict(
                    self._adapter_cfg,
                    student_channels=s.shape[1],
                    teacher_channels=t.shape[1]))
            for s, t in zip(student.features, teacher.features))

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight, from the features."""
        return sum(
            self.mimic_loss(adapter(s, t.shape), t) for adapter, s, t in zip(
                self.adapters, student.features, teacher.features))
