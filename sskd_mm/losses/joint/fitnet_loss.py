# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Union

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
from torch import Tensor

from ..l2_mimic_loss import L2MimicLoss
from .check_maps import check_maps
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class FitNetLoss(JointLoss):
    r"""Regression of a middle feature to the teacher's (FitNet).

    FitNets (*Hints for Thin Deep Nets*, arXiv 1412.6550) compares one
    feature in the middle of the network, the hint, through a regressor
    :math:`r` (Eq. 3), by the mean over elements of

    .. math::
        L = \| r(s) - t \|^2

    The paper does so in a separate stage before knowledge distillation; that
    form is a mimic phase followed by :class:`KDLoss` in ``finetune``. This
    class computes what CRD (arXiv 1910.10699) and later comparisons call
    FitNet: hint and task loss together, with a 1x1 convolution, batch norm
    and ReLU as the regressor. If the sizes differ, the student's feature is
    first average-pooled down or bilinearly upsampled (in CRD by a convolution
    with another kernel and stride).

    Args:
        weight (float): Loss weight. Defaults to 100, as in CRD's comparison.
        stage (int or str): Index or name of the stage to compare. Defaults to
            1, the second: ``layer2`` of a ResNet, as in CRD's comparison.

    Example:
        >>> losses = [dict(type='FitNetLoss', weight=100, stage='layer2')]
    """

    def __init__(self,
                 weight: float = 100,
                 stage: Union[int, str] = 1) -> None:
        super().__init__(weight)
        self.stage = stage

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Build the regressor.

        Raises:
            ValueError: There is no such stage, or its features are not maps.
        """
        names = student.names
        if isinstance(self.stage, str) and self.stage in names:
            self.stage = names.index(self.stage)
        number = len(student.features)
        if isinstance(self.stage, str) or not -number <= self.stage < number:
            raise ValueError(
                f'FitNetLoss: there is no stage {self.stage!r} among the '
                f'{number} stages {", ".join(names)}. Give the name of a '
                'stage or its index, from 0.')
        hints = [
            knowledge._replace(
                features=knowledge.features[self.stage:][:1],
                names=names[self.stage:][:1])
            for knowledge in (student, teacher)
        ]
        check_maps(self, *hints)
        source, target = (hint.features[0].shape[1] for hint in hints)
        self.regressor = ConvModule(
            source, target, 1, norm_cfg=dict(type='BN'))
        self.mimic_loss = L2MimicLoss()

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss from the hint."""
        feature = student.features[self.stage]
        feature = feature.to(self.regressor.conv.weight.dtype)
        target = teacher.features[self.stage]
        size = target.shape[2:]
        if feature.shape[-1] > size[-1]:
            feature = F.adaptive_avg_pool2d(feature, size)
        elif feature.shape[2:] != size:
            feature = F.interpolate(
                feature, size=size, mode='bilinear', align_corners=False)
        return self.mimic_loss(self.regressor(feature), target)
