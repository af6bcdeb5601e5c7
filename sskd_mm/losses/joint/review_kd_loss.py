# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..mimic_loss import MimicLoss
from .attention_fusion import AttentionFusion
from .joint_loss import JointLoss
from .knowledge import Knowledge
from .warm_up import WarmUp


@MODELS.register_module()
class ReviewKDLoss(JointLoss):
    r"""Each stage learns from what the deeper ones have fused (ReviewKD).

    ReviewKD (*Distilling Knowledge via Knowledge Review*, arXiv 2104.09044,
    Section 3) takes the student's features of all taps and its embedding as
    a map of one position, :math:`S_1, \dots, S_n`. From the last to the
    first each is fused with the result of the one behind it
    (:class:`AttentionFusion`, the paper's ABF), and what comes out,
    :math:`F_i`, is compared with the teacher's :math:`T_i` at several sizes
    (HCL), with :math:`P_l` the average pooling to :math:`l \times l`:

    .. math::
        L = \sum_i \frac{\mathrm{MSE}(F_i, T_i) + \sum_l 2^{-j_l}
            \mathrm{MSE}(P_l F_i, P_l T_i)}{1 + \sum_l 2^{-j_l}}

    Here :math:`l` is each of 4, 2, 1 that is smaller than the map, and
    :math:`j_l = 1, 2, \dots` counts them.

    The authors compare features before the last ReLU of a stage; here it is
    what the taps are. The fusions train with the student.

    Args:
        warmup_epochs (float): Over how many epochs the loss grows to its
            full size, see :class:`WarmUp`. Shorter trainings than the
            published one of 240 epochs need less. Defaults to 20.
        weight (float): What the loss is multiplied with. The authors take,
            on CIFAR-100, 0.6 for ResNet-56 to -20, 1 for ResNet-110 to -32
            and 5 for ResNet-32x4 to -8x4. Defaults to 1.0.

    Example:
        >>> loss = dict(type='ReviewKDLoss', weight=0.6)
    """

    needs = ('embedding', )

    def __init__(self, warmup_epochs: float = 20, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.warmup_epochs = warmup_epochs

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Make the fusions and set up the warm-up.

        Args:
            student (Knowledge): The student's, of a dry run.
            teacher (Knowledge): The teacher's, of the same.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: The networks differ in the number of taps, or
                ``warmup_epochs`` is negative.
        """
        ours, theirs = self._levels(student), self._levels(teacher)
        if len(ours) != len(theirs):
            raise ValueError(
                f'The student has {len(ours) - 1} taps and the teacher '
                f'{len(theirs) - 1}; ReviewKDLoss compares them one by one.')
        # At most 512, as the authors have it.
        mid_channels = min(512, ours[-1].shape[1])
        self.fusions = nn.ModuleList(
            AttentionFusion(s.shape[1], mid_channels, t.shape[1], i > 0)
            for i, (s, t) in enumerate(zip(ours[::-1], theirs[::-1])))
        self.warm_up = WarmUp(self.warmup_epochs, num_samples)
        self.to(student.embedding.device)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight.

        Args:
            student (Knowledge): The student's, with gradients.
            teacher (Knowledge): The teacher's, without.
            labels (Tensor): Not used.
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.

        Raises:
            ValueError: A batch of one sample, which the fusions' batch norm
                cannot normalise.
        """
        if self.training and len(labels) == 1:
            raise ValueError(
                'ReviewKDLoss needs batches of 2 samples or more; write '
                'drop_last=True in train_dataloader to skip a last one of 1.')
        loss, fused = 0., None
        # From the last to the first.
        for fusion, ours, theirs in zip(self.fusions,
                                        self._levels(student)[::-1],
                                        self._levels(teacher)[::-1]):
            ours, theirs = MimicLoss._promote(ours, theirs)
            ours, fused = fusion(ours, fused, theirs.shape[2:])
            loss = loss + self._distance(*MimicLoss._promote(ours, theirs))
        return self.warm_up(loss, len(labels))

    @staticmethod
    def _levels(knowledge: Knowledge) -> List[Tensor]:
        """The features of the taps and the embedding, as maps."""
        return [*knowledge.features, MimicLoss._as_map(knowledge.embedding)]

    @staticmethod
    def _distance(student: Tensor, teacher: Tensor) -> Tensor:
        """The hierarchical context loss of two maps (N, C, H, W)."""
        loss, total, share = F.mse_loss(student, teacher), 1., 1.
        for size in (4, 2, 1):
            if size < min(student.shape[2:]):
                share /= 2
                total += share
                loss = loss + share * F.mse_loss(
                    F.adaptive_avg_pool2d(student, size),
                    F.adaptive_avg_pool2d(teacher, size))
        return loss / total
