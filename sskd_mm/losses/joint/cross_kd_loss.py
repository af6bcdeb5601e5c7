# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from ..objects import Objects
from .distributions import assigned_anchors, check_distributions, divergence
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class CrossKDLoss(JointLoss):
    r"""The student's head continued by the teacher's (CrossKD).

    CrossKD (*CrossKD: Cross-Head Knowledge Distillation for Object
    Detection*, arXiv 2306.11369, Section 3.2) hands what the student's head
    has after some of its convolutions to the rest of the teacher's, and
    compares what comes out with the teacher's own predictions. So the
    student's predictions are left to the ground truth, which the teacher's
    may contradict. For heads with distributions (GFL), of scores :math:`y`
    and distributions :math:`p` of the teacher, and :math:`\hat y` and
    :math:`\hat p` of the crossed head,

    .. math::
        L = \frac{1}{P} \sum_{i, c} |y_{ic} - \hat y_{ic}| \,
                \mathrm{BCE}(\hat y_{ic}, y_{ic})
            + \frac{\lambda}{4 \sum_i w_i} \sum_i w_i \sum_{e} \sum_j
                p_{iej} \log \frac{p_{iej}}{\hat p_{iej}}

    with :math:`P` the number of anchors that are assigned to an object,
    :math:`w_i` the teacher's highest score and :math:`e` the four sides of a
    box. The anchors are assigned a second time in each step for :math:`P`,
    and both sums count those of this process alone.

    The authors' code besides brings mean and deviation of what is handed over
    to those of the teacher's; here the student has to learn them.

    Args:
        weight (float): What the loss is multiplied with. Defaults to 1.
        regression_weight (float): The :math:`\lambda`. Defaults to 4, as the
            authors have it for GFL.
        num_convs (int): After how many of its convolutions the student's head
            is continued by the teacher's. Defaults to 3, of 4.

    Example:
        >>> losses = [dict(type='CrossKDLoss', weight=1)]
    """

    needs = ('outputs', 'hidden', 'boxes')

    def __init__(self,
                 weight: float = 1,
                 regression_weight: float = 4,
                 num_convs: int = 3) -> None:
        super().__init__(weight)
        self.regression_weight = regression_weight
        self.num_convs = num_convs

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """See that one head can be continued by the other.

        Raises:
            ValueError: It cannot: no distributions, too few convolutions, or
                other widths.
        """
        check_distributions(self, student, teacher)
        numbers = [len(x.head.cls_convs) for x in (student, teacher)]
        if not 1 <= self.num_convs <= min(numbers):
            raise ValueError(
                f'CrossKDLoss: num_convs is {self.num_convs}, but the '
                f'student\'s head has {numbers[0]} convolutions and the '
                f'teacher\'s {numbers[1]}. Give a number from 1 to '
                f'{min(numbers)}.')
        widths = [x.head.feat_channels for x in (student, teacher)]
        if widths[0] != widths[1]:
            raise ValueError(
                'CrossKDLoss hands what the student\'s head computes to the '
                f'teacher\'s, but they have {widths[0]} and {widths[1]} '
                'channels. Give the student\'s bbox_head '
                f'feat_channels={widths[1]}.')

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Objects,
                indices: None) -> Tensor:
        """Compute the loss, without its weight, from the crossed head."""
        number = sum(x.sum() for x in assigned_anchors(student, labels))
        classes = boxes = weights = 0.
        for level, (target, sides) in enumerate(zip(*teacher.outputs)):
            scores, crossed = self._cross(student, teacher, level)
            scores, target = MimicLoss._promote(scores, target)
            target = target.sigmoid()
            error = (target - scores.sigmoid()).abs()
            classes = classes + (error * F.binary_cross_entropy_with_logits(
                scores, target, reduction='none')).sum()
            weight = target.amax(1).flatten(1)
            boxes = boxes + (weight * divergence(crossed, sides, 1)).sum()
            weights = weights + weight.sum()
        return (classes / number.clamp_min(1) +
                self.regression_weight * boxes / weights.clamp_min(1e-6))

    def _cross(self, student: Knowledge, teacher: Knowledge,
               level: int) -> Tuple[Tensor, Tensor]:
        """What the teacher's head makes of the student's features."""
        head = teacher.head
        crossed = []
        for hidden, convs in zip(student.hidden,
                                 (head.cls_convs, head.reg_convs)):
            feature = hidden[self.num_convs - 1][level]
            for conv in convs[self.num_convs:]:
                feature = conv(feature)
            crossed.append(feature)
        return (head.gfl_cls(crossed[0]),
                head.scales[level](head.gfl_reg(crossed[1])))
