# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from torch import Tensor, nn

from ...adapters import build_adapter
from ..objects import Objects
from .joint_loss import JointLoss
from .knowledge import Knowledge


class AdaptedLoss(JointLoss):
    """Base class of losses that sum a distance over all taps, between the
    adapted student feature and the teacher's.

    Args:
        weight (float): Loss weight.
        adapter (dict): Config of the adapter to the teacher's shape; one is
            built per tap, or per level of an FPN.
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
        """Compute the unweighted loss from the features."""
        objects = labels if 'boxes' in self.needs else None
        return sum(
            self.distance(number, adapter(s, t.shape), t, objects)
            for number, (adapter, s, t) in enumerate(
                zip(self.adapters, student.features, teacher.features)))

    def distance(self, number: int, student: Tensor, teacher: Tensor,
                 objects: Optional[Objects]) -> Tensor:
        """Compare one tap's features.

        Args:
            number (int): Index of the tap.
            student (Tensor): The student's feature, adapted.
            teacher (Tensor): The teacher's feature, of the same shape.
            objects (Objects, optional): The objects, if the loss needs boxes.

        Returns:
            Tensor: A scalar, in float32.
        """
        raise NotImplementedError
