# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple

import torch
from mmcv.cnn.bricks import ContextBlock
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..mimic_loss import MimicLoss
from ..objects import Objects
from .adapted_loss import AdaptedLoss
from .check_maps import check_maps
from .knowledge import Knowledge


@MODELS.register_module()
class FGDLoss(AdaptedLoss):
    r"""Focal and global distillation of a detector's features (FGD).

    FGD (*Focal and Global Knowledge Distillation for Detectors*, arXiv
    2111.11837) compares foreground and background separately, weighted by the
    teacher's attention. Spatial and channel attention are (Eqs. 4, 5)

    .. math::
        A^S(F) = H W \, \mathrm{softmax}\Big(\frac{1}{C} \sum_k |F_k| / T\Big)
        \qquad
        A^C(F) = C \, \mathrm{softmax}\Big(\frac{1}{H W} \sum_p |F_p| / T\Big)

    With :math:`A` the teacher's attention and :math:`S_p` one over the number
    of cells of the object at :math:`p` (the smallest if several overlap) or
    of the background, the loss of an image is (Eqs. 8 to 12)

    .. math::
        L = \sum_{k, p} w_p S_p A^S_p A^C_k (t_{kp} - s_{kp})^2
            + \gamma \left( \| A^S(t) - A^S(s) \|_1
                            + \| A^C(t) - A^C(s) \|_1 \right)
            + \lambda \| R(t) - R(s) \|^2

    with :math:`w_p = \alpha` for foreground and :math:`\beta` for background,
    and :math:`R` a block that adds global context to each position (GCNet's;
    each network has its own, and both train with the student). The loss is
    averaged over images and summed over taps.

    The authors' code swaps height and width of its masks and divides by the
    unpadded image size; here boxes are used at their positions in the batch.

    Args:
        weight (float): Loss weight. Defaults to 1.
        foreground (float): The :math:`\alpha`. For this and the next three
            the authors use 1e-3, 5e-4, 1e-3, 5e-6 in anchor-based one-stage
            detectors and 5e-5, 2.5e-5, 5e-5, 5e-7 in two-stage ones. Defaults
            to 1e-3.
        background (float): The :math:`\beta`. Defaults to 5e-4.
        attention (float): The :math:`\gamma`. Defaults to 1e-3.
        relation (float): The :math:`\lambda`. Defaults to 5e-6.
        temperature (float): The :math:`T`. Defaults to 0.5.
        adapter (dict): Config of the adapter to the teacher's shape. Defaults
            to ``dict(type='ConvAdapter')``.

    Example:
        >>> losses = [dict(type='FGDLoss')]
    """

    needs = ('boxes', )

    def __init__(
        self,
        weight: float = 1,
        foreground: float = 1e-3,
        background: float = 5e-4,
        attention: float = 1e-3,
        relation: float = 5e-6,
        temperature: float = 0.5,
        adapter: dict = dict(type='ConvAdapter')
    ) -> None:
        super().__init__(weight, adapter)
        self.foreground = foreground
        self.background = background
        self.attention = attention
        self.relation = relation
        self.temperature = temperature

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the adapters and both networks' context blocks.

        Raises:
            ValueError: A feature is not a map.
        """
        check_maps(self, student, teacher)
        super().prepare(student, teacher, num_samples)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                ContextBlock(t.shape[1], ratio=0.5)
                for t in teacher.features) for _ in range(2))

    def distance(self, number: int, student: Tensor, teacher: Tensor,
                 objects: Objects) -> Tensor:
        """Compare one tap's features."""
        student, teacher = MimicLoss._promote(student, teacher)
        ours, theirs = self._attend(student), self._attend(teacher)
        weights = self._weights(objects, teacher.shape[2:])[:, None]
        attended = theirs[0] * theirs[1] * weights
        loss = (attended * (teacher - student).square()).sum()
        for a, b in zip(ours, theirs):
            loss = loss + self.attention * (a - b).abs().sum()
        related = self.blocks[1][number](teacher) - self.blocks[0][number](
            student)
        loss = loss + self.relation * related.square().sum()
        return loss / len(teacher)

    def _attend(self, feature: Tensor) -> Tuple[Tensor, Tensor]:
        """Compute spatial (N, 1, H, W) and channel attention (N, C, 1, 1)."""
        size = feature.abs() / self.temperature
        places = size.mean(1).flatten(1).softmax(1) * size[0, 0].numel()
        channels = size.mean((2, 3)).softmax(1) * size.shape[1]
        return (places.view_as(feature[:, :1]), channels[..., None, None])

    def _weights(self, objects: Objects, size: Tuple[int, int]) -> Tensor:
        """Compute the weight of the squared difference at each position,
        (N, H, W)."""
        weights = []
        for rows, columns in objects.cells(size):
            area = rows.sum(1) * columns.sum(1)
            inside = rows[:, :, None] & columns[:, None]
            share = inside / area[:, None, None]
            # Pad with zeros: there may be no object.
            share = torch.cat([share, share.new_zeros(1, *size)]).amax(0)
            outside = share == 0
            weights.append(self.foreground * share + self.background *
                           outside / outside.sum().clamp_min(1))
        return torch.stack(weights)
