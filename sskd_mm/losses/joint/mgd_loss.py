# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..mimic_loss import MimicLoss
from ..objects import Objects
from .adapted_loss import AdaptedLoss
from .check_maps import check_maps
from .knowledge import Knowledge


@MODELS.register_module()
class MGDLoss(AdaptedLoss):
    r"""Generates the teacher's feature from a masked student feature (MGD).

    MGD (*Masked Generative Distillation*, arXiv 2205.01529, Eqs. 3 to 5)
    masks random positions of the student's feature, with all their channels.
    Two 3x3 convolutions with a ReLU in between, :math:`G`, generate the
    teacher's full feature from the rest:

    .. math::
        L = \frac{1}{N} \sum_n \sum_{k, p} \left( T_{nkp} -
            G(f(S_n) \cdot M_n)_{kp} \right)^2
        \qquad
        M_{np} = \begin{cases} 0 & \text{if } R_{np} < \lambda \\
            1 & \text{otherwise} \end{cases}

    with :math:`R` uniform in [0, 1), drawn anew in each step, and :math:`f`
    the adapter. The loss sums over channels, positions and taps, so its
    weight is small. The convolutions train with the student.

    Args:
        weight (float): Loss weight. For this and the next the authors use
            2e-5 and 0.65 in one-stage detectors, 5e-7 and 0.45 in two-stage
            ones, 7e-5 and 0.5 in classifiers (at the last stage). Defaults to
            2e-5.
        mask_ratio (float): The :math:`\lambda`. Defaults to 0.65.
        adapter (dict): Config of the adapter to the teacher's shape. Defaults
            to ``dict(type='ConvAdapter')``.

    Raises:
        ValueError: ``mask_ratio`` is not in [0, 1).

    Example:
        >>> losses = [dict(type='MGDLoss', weight=5e-7, mask_ratio=0.45)]
    """

    def __init__(
        self,
        weight: float = 2e-5,
        mask_ratio: float = 0.65,
        adapter: dict = dict(type='ConvAdapter')
    ) -> None:
        super().__init__(weight, adapter)
        if not 0 <= mask_ratio < 1:
            raise ValueError(
                f'mask_ratio is {mask_ratio}; it is the share of masked '
                'positions, so it must be at least 0 and less than 1.')
        self.mask_ratio = mask_ratio

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the adapters and the generating convolutions.

        Raises:
            ValueError: A feature is not a map.
        """
        check_maps(self, student, teacher)
        super().prepare(student, teacher, num_samples)
        self.generators = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1))
            for channels in (t.shape[1] for t in teacher.features))

    def distance(self, number: int, student: Tensor, teacher: Tensor,
                 objects: Optional[Objects]) -> Tensor:
        """Generate one tap's feature and compare it."""
        student, teacher = MimicLoss._promote(student, teacher)
        seen = torch.rand_like(student[:, :1]) >= self.mask_ratio
        restored = self.generators[number](student * seen)
        return (restored - teacher).square().sum() / len(teacher)
