# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Tuple, Union

from torch import Tensor, nn

from ..objects import Objects
from .knowledge import Knowledge


class JointLoss(nn.Module):
    """Base class of losses that are added to the task loss with a weight.

    These are the baselines and controls for stage-by-stage mimicking;
    :class:`JointDistiller` trains with them. A loss may have parameters
    (projections, fusions): they are created in :meth:`prepare`, train with
    the student and are dropped after training.

    Args:
        weight (float): Loss weight. It needs tuning, which stage-by-stage
            mimicking avoids.
    """

    #: Inputs other than features: for classifiers ``'embedding'`` or
    #: ``'logits'``; for detectors ``'boxes'`` (ground truth), ``'outputs'``
    #: (of the dense head) or ``'hidden'`` (its intermediate features).
    needs: Tuple[str, ...] = ()

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Create everything that depends on shapes; called once, before
        training.

        Args:
            student (Knowledge): The student's outputs in a dry run.
            teacher (Knowledge): The teacher's outputs in the same dry run.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: The loss cannot be computed for these networks.
        """

    def forward(self, student: Knowledge, teacher: Knowledge,
                labels: Union[Tensor, Objects, None],
                indices: Optional[Tensor]) -> Tensor:
        """Compute the unweighted loss.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor or Objects): For classifiers the classes, (N, );
                for detectors the objects, if the loss needs boxes.
            indices (Tensor): Index of each sample in the training set, (N, );
                None for detectors.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        raise NotImplementedError
