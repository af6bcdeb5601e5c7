# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from torch import Tensor, nn

from ...adapters import build_adapter
from ..objects import Objects
from .joint_loss import JointLoss
from .knowledge import Knowledge


class AdaptedLoss(JointLoss):
    """Base of the losses that sum up a distance over all taps, between
    features that an adapter has brought together.

    Args:
        weight (float): What the loss is multiplied with.
        adapter (dict): Config of the map to the teacher's shape; one is made
            for each tap, or level of an FPN.
    """

    def __init__(self, weight: float, adapter: dict) -> None:
        super().__init__(weight)
        self._adapter_cfg = adapter

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the adapters."""
        self.adapters = nn.ModuleList(
            build_adapter(self._adapter_cfg, s.shape, t.shape)
            for s, t in zip(student.features, teacher.features))

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight, from the features."""
        objects = labels if 'boxes' in self.needs else None
        return sum(
            self.distance(number, adapter(s, t.shape), t, objects)
            for number, (adapter, s, t) in enumerate(
                zip(self.adapters, student.features, teacher.features)))

    def distance(self, number: int, student: Tensor, teacher: Tensor,
                 objects: Optional[Objects]) -> Tensor:
        """Compare one tap's features.

        Args:
            number (int): Which of the taps.
            student (Tensor): The student's feature, adapted.
            teacher (Tensor): The teacher's, of the same shape.
            objects (Objects, optional): Where the objects are, if the loss
                needs the boxes.

        Returns:
            Tensor: A scalar, in float32.
        """
        raise NotImplementedError
