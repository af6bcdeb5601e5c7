# Copyright (c) sskd_mm authors. All rights reserved.
import math
from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class CRDLoss(JointLoss):
    r"""Contrastive representation distillation (CRD).

    In CRD (*Contrastive Representation Distillation*, arXiv 1910.10699,
    Section 3.1) a student's embedding has to pick out the teacher's embedding
    of the same sample among those of :math:`K` samples of other classes, and
    vice versa. Linear maps bring both to the same width, and they are
    normalised to unit length, giving :math:`s` and :math:`t`; the embeddings
    they are contrasted with come from two memory banks of all training
    samples. By noise-contrastive estimation, with :math:`b_0` the sample's
    own bank entry and :math:`b_1, \dots, b_K` those of the others, the
    student's half is

    .. math::
        h(s, b) = \frac{e^{\langle s, b \rangle / \tau} / Z}
                       {e^{\langle s, b \rangle / \tau} / Z + K / M}
        \qquad
        L_s = -\frac{1}{N} \sum_n \Bigl( \log h(s, b_0)
            + \sum_{k=1}^K \log (1 - h(s, b_k)) \Bigr)

    with the teacher's bank and :math:`M` the size of the training set;
    :math:`L_t` is the same for :math:`t` with the student's bank, and
    :math:`L = L_s + L_t`. :math:`Z` is :math:`M` times the mean of
    :math:`e^{\langle s, b \rangle / \tau}` over the first batch, separately
    for each half, and stays fixed. After each batch the bank entries of its
    samples become :math:`m b_0 + (1 - m) s`, renormalised to unit length.

    It differs from the authors' code as follows:

    - Samples of other classes are drawn with replacement.
    - The bank learns the class of a sample when it first sees it. Until then
      the sample counts as another class: its entry is still noise.
    - The :math:`10^{-7}` in the denominators is omitted, since everything is
      computed in log space.
    - In distributed training the bank of each process gets the entries of all
      processes, whose batches must therefore have the same size.

    A sample is an index of the whole training set: with a ``RepeatDataset``
    each repeat of an image has its own entry.

    If the bank knows no other class, a sample has no negatives. The banks are
    buffers, so training resumes with them. For the 50,000 samples of
    CIFAR-100 they take 51 MB, and each step copies them.

    Args:
        dim (int): Width of the banks. Defaults to 128.
        num_negatives (int): The :math:`K`, capped at :math:`M - 1`. Defaults
            to 16384.
        temperature (float): The :math:`\tau`. Defaults to 0.07.
        momentum (float): The :math:`m`. Defaults to 0.5.
        weight (float): Loss weight. Defaults to 0.8.

    Raises:
        ValueError: ``temperature`` is not positive, or ``momentum`` is not
            in [0, 1).

    Example:
        >>> loss = dict(type='CRDLoss', num_negatives=4096)
    """

    student_bank: Tensor
    teacher_bank: Tensor
    classes: Tensor
    log_means: Tensor
    has_means: Tensor

    needs = ('embedding', )

    def __init__(self,
                 dim: int = 128,
                 num_negatives: int = 16384,
                 temperature: float = 0.07,
                 momentum: float = 0.5,
                 weight: float = 0.8) -> None:
        super().__init__(weight)
        if temperature <= 0:
            raise ValueError(
                f'temperature is {temperature}; it must be positive.')
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum is {momentum}; it must be at least 0 '
                             'and less than 1.')
        self.dim = dim
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.momentum = momentum

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Create the linear maps and the memory banks.

        Args:
            student (Knowledge): The student's outputs in a dry run.
            teacher (Knowledge): The teacher's outputs in the same dry run.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: The training set has a single sample.
        """
        if num_samples < 2:
            raise ValueError('CRDLoss contrasts samples with each other; the '
                             'training set has only one.')
        device = student.embedding.device
        self.student_map = nn.Linear(
            student.embedding.shape[1], self.dim, device=device)
        self.teacher_map = nn.Linear(
            teacher.embedding.shape[1], self.dim, device=device)
        # Unit length on average.
        bound = math.sqrt(3 / self.dim)
        for name in ('student_bank', 'teacher_bank'):
            bank = torch.empty(num_samples, self.dim, device=device)
            self.register_buffer(name, bank.uniform_(-bound, bound))
        self.register_buffer('classes',
                             torch.full((num_samples, ), -1, device=device))
        # log(Z / M) of both halves.
        self.register_buffer('log_means', torch.zeros(2, device=device))
        self.register_buffer('has_means', torch.tensor(False, device=device))

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss and update the banks.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor): Classes, (N, ).
            indices (Tensor): Index of each sample in the training set, (N, ),
                from 0 to M - 1.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        embeddings = MimicLoss._promote(student.embedding, teacher.embedding)
        # Autocast would run this product in half precision.
        with torch.autocast(labels.device.type, enabled=False):
            student_vector = MimicLoss._unit_length(
                self.student_map(embeddings[0]), 1)
            teacher_vector = MimicLoss._unit_length(
                self.teacher_map(embeddings[1]), 1)
            everywhere = torch.cat(all_gather(indices))
            self.classes[everywhere] = torch.cat(all_gather(labels))
            negatives, has_negatives = self._draw(labels)
            drawn = torch.cat([indices[:, None], negatives], 1)  # (N, 1 + K)
            # Multiplying by the whole bank takes far less memory than
            # gathering K entries per sample. Cloned, because the banks change
            # before the backward pass.
            student_scores = student_vector @ self.teacher_bank.clone().T
            teacher_scores = teacher_vector @ self.student_bank.clone().T
            scores = torch.stack([
                student_scores.gather(1, drawn),
                teacher_scores.gather(1, drawn)
            ]) / self.temperature  # (2, N, 1 + K)
        self._estimate_means(scores.detach())
        # Log-odds of h; M cancels out.
        odds = (
            scores - self.log_means[:, None, None] -
            math.log(negatives.shape[1]))
        loss = F.softplus(-odds[..., 0])
        loss = loss + F.softplus(odds[..., 1:]).sum(2) * has_negatives
        self._update(self.student_bank, student_vector, everywhere)
        self._update(self.teacher_bank, teacher_vector, everywhere)
        return loss.sum(0).mean()

    def _draw(self, labels: Tensor) -> Tuple[Tensor, Tensor]:
        """Draw samples of other classes (N, K); also tell whether there are
        any (N, )."""
        num_samples = len(self.classes)
        # Sorted by class, a sample's own class is one contiguous gap to skip.
        ordered, order = self.classes.sort()
        start = torch.searchsorted(ordered, labels)[:, None]
        end = torch.searchsorted(ordered, labels, right=True)[:, None]
        num_others = num_samples - (end - start)
        rank = torch.rand(
            len(labels),
            min(self.num_negatives, num_samples - 1),
            device=labels.device)
        # Rounding may push the product up to num_others.
        rank = torch.minimum((rank * num_others).long(), num_others - 1)
        rank = torch.where(rank < start, rank, rank + end - start)
        # If there are no others, any index will do.
        return order[rank.clamp(0, num_samples - 1)], num_others[:, 0] > 0

    @torch.no_grad()
    def _estimate_means(self, scores: Tensor) -> None:
        """Keep the means of the first batch, without branching on a value,
        which would synchronise the device."""
        means = scores.exp().mean((1, 2))
        all_reduce(means, op='mean')
        self.log_means.copy_(
            torch.where(self.has_means, self.log_means, means.log()))
        self.has_means.fill_(True)

    @torch.no_grad()
    def _update(self, bank: Tensor, vector: Tensor, indices: Tensor) -> None:
        vector = torch.cat(all_gather(vector.detach()))
        vector = torch.lerp(vector.to(bank), bank[indices], self.momentum)
        bank[indices] = MimicLoss._unit_length(vector, 1)
