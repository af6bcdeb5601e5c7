# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Iterator

import torch.nn.functional as F
from torch import Tensor

from ..mimic_loss import MimicLoss
from .check_maps import check_maps
from .joint_loss import JointLoss
from .knowledge import Knowledge


class TapwiseLoss(JointLoss):
    """Base class of losses that sum a mimic loss over all taps.

    If two features differ in height and width, the larger is average-pooled
    to the size of the smaller, as in CRD's comparison.

    Args:
        weight (float): Loss weight.
        mimic_loss (MimicLoss): The distance between two maps, which may
            differ in channels.
    """

    def __init__(self, weight: float, mimic_loss: MimicLoss) -> None:
        super().__init__(weight)
        self.mimic_loss = mimic_loss

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Check that the features are maps.

        Raises:
            ValueError: One is not.
        """
        check_maps(self, student, teacher)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss from the features."""
        return sum(
            self.mimic_loss(*_to_smaller(s, t))
            for s, t in zip(student.features, teacher.features))


def _to_smaller(student: Tensor, teacher: Tensor) -> Iterator[Tensor]:
    size = min(student.shape[2:], teacher.shape[2:])
    return (x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size)
            for x in (student, teacher))
