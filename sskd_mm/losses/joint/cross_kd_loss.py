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
    Detection*, arXiv 2306.11369, Section 3.2) feeds an intermediate feature
    of the student's head into the rest of the teacher's head and compares the
    result with the teacher's own predictions. The student's predictions thus
    answer to the ground truth alone, which the teacher's may contradict. For
    heads that predict distributions (GFL), with scores :math:`y` and
    distributions :math:`p` of the teacher, and :math:`\hat y` and
    :math:`\hat p` of the crossed head,

    .. math::
        L = \frac{1}{P} \sum_{i, c} |y_{ic} - \hat y_{ic}| \,
                \mathrm{BCE}(\hat y_{ic}, y_{ic})
            + \frac{\lambda}{4 \sum_i w_i} \sum_i w_i \sum_{e} \sum_j
                p_{iej} \log \frac{p_{iej}}{\hat p_{iej}}

    with :math:`P` the number of anchors assigned to an object, :math:`w_i`
    the teacher's highest score and :math:`e` the four sides of a box. To get
    :math:`P`, each step assigns the anchors a second time. Both sums run over
    the anchors of this process only.

    The authors' code also matches the mean and standard deviation of the
    intermediate feature to the teacher's; here the student learns them.

    Args:
        weight (float): Loss weight. Defaults to 1.
        regression_weight (float): The :math:`\lambda`. Defaults to 4, the
            authors' value for GFL.
        num_convs (int): The number of convolutions of the student's head
            before the teacher's takes over. Defaults to 3, of 4.

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
        """Check that the teacher's head can continue the student's.

        Raises:
            ValueError: It cannot: no distributions, too few convolutions, or
                different widths.
        """
        check_distributions(self, student, teacher)
        numbers = [len(x.head.cls_convs) for x in (student, teacher)]
        if not 1 <= self.num_convs <= min(numbers):
            raise ValueError(
                f'CrossKDLoss: num_convs is {self.num_convs}, but the '
                f'student\'s head has {numbers[0]} convolutions and the '
                f'teacher\'s {numbers[1]}. Set it to a number from 1 to '
                f'{min(numbers)}.')
        widths = [x.head.feat_channels for x in (student, teacher)]
        if widths[0] != widths[1]:
            raise ValueError(
                'CrossKDLoss feeds features of the student\'s head into the '
                f'teacher\'s, but they have {widths[0]} and {widths[1]} '
                'channels. Set the student\'s bbox_head to '
                f'feat_channels={widths[1]}.')

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Objects,
                indices: None) -> Tensor:
        """Compute the unweighted loss from the crossed head."""
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
        """Run the rest of the teacher's head on the student's features."""
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
