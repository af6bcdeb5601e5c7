# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Tuple, Union

from torch import Tensor, nn

from ..objects import Objects
from .knowledge import Knowledge


class JointLoss(nn.Module):
    """Base of the losses that are added to a task's own, with a weight.

    These are the rivals and controls of stage-by-stage mimicking; a
    :class:`JointDistiller` trains with them. A loss may have parameters
    (projections, fusions): they are made in :meth:`prepare`, train with the
    student and are dropped after training.

    Args:
        weight (float): What the loss is multiplied with before it is added
            to the task's own. It has to be tuned, which is why stage-by-stage
            mimicking does without.
    """

    #: What it reads beside features: ``'embedding'`` or ``'logits'`` of
    #: classifiers; of detectors ``'boxes'`` of the data, ``'outputs'`` of the
    #: dense head, or ``'hidden'``, what it computes on the way.
    needs: Tuple[str, ...] = ()

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Make what depends on shapes; called once before training.

        Args:
            student (Knowledge): The student's, of a dry run.
            teacher (Knowledge): The teacher's, of the same.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: Networks that the loss cannot be computed for.
        """

    def forward(self, student: Knowledge, teacher: Knowledge,
                labels: Union[Tensor, Objects, None],
                indices: Optional[Tensor]) -> Tensor:
        """Compute the loss, without its weight.

        Args:
            student (Knowledge): The student's, with gradients.
            teacher (Knowledge): The teacher's, without.
            labels (Tensor or Objects): Of classifiers the classes, (N, ); of
                detectors the objects, if the loss needs the boxes.
            indices (Tensor): Which sample of the training set each one is,
                (N, ); of detectors None.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        raise NotImplementedError
