# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge
from .warm_up import WarmUp


@MODELS.register_module()
class DKDLoss(JointLoss):
    r"""Decoupled knowledge distillation (DKD).

    DKD (*Decoupled Knowledge Distillation*, arXiv 2203.08679) splits the
    divergence between the softened outputs of teacher and student,
    :math:`p = \mathrm{softmax}(z / T)`, into two parts: the confidence in the
    target class :math:`y` (TCKD, between the pairs
    :math:`b = (p_y, 1 - p_y)`) and the distribution over the other classes
    (NCKD, between :math:`\hat p_k = p_k / (1 - p_y)`, :math:`k \ne y`). In
    plain KD the second part is weighted by :math:`1 - p^t_y` (Eq. 6), which
    suppresses it where the teacher is confident; here it is not (Eq. 7):

    .. math::
        L = \frac{T^2}{N} \sum_n
            \alpha\, \mathrm{KL}(b^t \| b^s)
            + \beta\, \mathrm{KL}(\hat p^t \| \hat p^s)

    The paper tunes :math:`\beta` per pair of networks; the authors' code uses
    1 to 8 on CIFAR-100 (2 for ResNet-56 to -20, 8 for ResNet-32x4 to -8x4),
    8 by default.

    Args:
        alpha (float): The :math:`\alpha`. Defaults to 1.0.
        beta (float): The :math:`\beta`. Defaults to 8.0.
        temperature (float): The :math:`T`. Defaults to 4.0.
        warmup_epochs (float): Epochs over which the loss ramps up to its full
            weight, see :class:`WarmUp`. The default of 20 is meant for the
            published 240 epochs; shorter training needs fewer.
        weight (float): Loss weight. Defaults to 1.0, since
            :math:`\alpha` and :math:`\beta` already weight it.

    Raises:
        ValueError: ``temperature`` is not positive.

    Example:
        >>> loss = dict(type='DKDLoss', beta=2.0)
    """

    needs = ('logits', )

    def __init__(self,
                 alpha: float = 1.0,
                 beta: float = 8.0,
                 temperature: float = 4.0,
                 warmup_epochs: float = 20,
                 weight: float = 1.0) -> None:
        super().__init__(weight)
        if temperature <= 0:
            raise ValueError(
                f'temperature is {temperature}; it must be positive.')
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.warmup_epochs = warmup_epochs

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Set up the warm-up.

        Args:
            student (Knowledge): The student's outputs in a dry run.
            teacher (Knowledge): The teacher's outputs in the same dry run.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: ``warmup_epochs`` is negative.
        """
        self.warm_up = WarmUp(self.warmup_epochs,
                              num_samples).to(student.logits.device)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor): Classes, (N, ).
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        student_logits, teacher_logits = MimicLoss._promote(
            student.logits, teacher.logits)
        # F.one_hot synchronises on some devices.
        is_class = labels[:, None] == torch.arange(
            student_logits.shape[1], device=labels.device)
        student_pair, student_others = self._split(student_logits, is_class)
        teacher_pair, teacher_others = self._split(teacher_logits, is_class)
        loss = (
            self.alpha * self._divergence(student_pair, teacher_pair) +
            self.beta * self._divergence(student_others, teacher_others))
        return self.warm_up(loss, len(labels))

    def _split(self, logits: Tensor,
               is_class: Tensor) -> Tuple[Tensor, Tensor]:
        """Compute log b (N, 2) and log p-hat (N, classes); the latter's entry
        for the target class is hugely negative."""
        logits = logits / self.temperature
        # Not -inf, which would make the divergence NaN.
        others = logits.masked_fill(is_class, -1e4)
        own = logits.masked_fill(~is_class, 0).sum(1)
        # In log space throughout: 1 - p would lose small values to rounding.
        pair = torch.stack([own, others.logsumexp(1)], 1)
        return F.log_softmax(pair, 1), F.log_softmax(others, 1)

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        divergence = F.kl_div(
            student, teacher, reduction='batchmean', log_target=True)
        return self.temperature**2 * divergence
