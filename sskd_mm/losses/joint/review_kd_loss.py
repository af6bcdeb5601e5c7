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
    r"""Compares each stage fused with the deeper ones (ReviewKD).

    ReviewKD (*Distilling Knowledge via Knowledge Review*, arXiv 2104.09044,
    Section 3) takes the student's features at all taps, and its embedding as
    a 1x1 map, :math:`S_1, \dots, S_n`. From last to first, each is fused with
    the result of its successor (:class:`AttentionFusion`, the paper's ABF).
    The result, :math:`F_i`, is compared with the teacher's :math:`T_i` at
    several sizes (HCL), with :math:`P_l` average pooling to
    :math:`l \times l`:

    .. math::
        L = \sum_i \frac{\mathrm{MSE}(F_i, T_i) + \sum_l 2^{-j_l}
            \mathrm{MSE}(P_l F_i, P_l T_i)}{1 + \sum_l 2^{-j_l}}

    Here :math:`l` runs over those of 4, 2, 1 that are smaller than the map,
    and :math:`j_l = 1, 2, \dots` counts them.

    The authors compare features before the last ReLU of a stage; this class
    compares the taps. The fusions train with the student.

    Args:
        warmup_epochs (float): Epochs over which the loss ramps up to its full
            weight, see :class:`WarmUp`. The default of 20 is meant for the
            published 240 epochs; shorter training needs fewer.
        weight (float): Loss weight. On CIFAR-100 the authors use 0.6 for
            ResNet-56 to -20, 1 for ResNet-110 to -32 and 5 for ResNet-32x4
            to -8x4. Defaults to 1.0.

    Example:
        >>> loss = dict(type='ReviewKDLoss', weight=0.6)
    """

    needs = ('embedding', )

    def __init__(self, warmup_epochs: float = 20, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.warmup_epochs = warmup_epochs

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the fusions and set up the warm-up.

        Args:
            student (Knowledge): The student's outputs in a dry run.
            teacher (Knowledge): The teacher's outputs in the same dry run.
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
        # At most 512, as in the authors' code.
        mid_channels = min(512, ours[-1].shape[1])
        self.fusions = nn.ModuleList(
            AttentionFusion(s.shape[1], mid_channels, t.shape[1], i > 0)
            for i, (s, t) in enumerate(zip(ours[::-1], theirs[::-1])))
        self.warm_up = WarmUp(self.warmup_epochs, num_samples)
        self.to(student.embedding.device)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor): Not used.
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.

        Raises:
            ValueError: The batch has one sample, which the fusions' batch
                norm cannot normalise.
        """
        if self.training and len(labels) == 1:
            raise ValueError(
                'ReviewKDLoss needs batches of at least 2 samples; set '
                'drop_last=True in train_dataloader to skip a last batch of '
                '1.')
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
        """Return the features of the taps and the embedding, as maps."""
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
