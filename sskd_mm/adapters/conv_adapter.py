# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Tuple

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ConvAdapter(BaseModule):
    """Brings a student's feature map to the shape of the teacher's.

    Where the widths differ a 1x1 convolution maps one to the other, as the
    regressor of FitNets (arXiv 1412.6550) does; where they agree the feature
    passes as it is. Where height and width differ the map is resampled
    bilinearly. An adapter trains with its stage and is thrown away with the
    teacher: it is never part of a checkpoint's ``state_dict``.

    Args:
        student_channels (int): Channels of the student's feature. Filled in
            by the dry run, as is the next.
        teacher_channels (int): Channels of the teacher's feature.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming's.

    Example:
        >>> adapter = dict(type='ConvAdapter')
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        init_cfg: Optional[dict] = dict(
            type='Kaiming', layer='Conv2d', nonlinearity='linear')
    ) -> None:
        super().__init__(init_cfg)
        if student_channels == teacher_channels:
            self.conv = nn.Identity()
        else:
            self.conv = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, feature: Tensor, size: Tuple[int, int]) -> Tensor:
        """Adapt one feature map.

        Args:
            feature (Tensor): The student's, (N, C_student, H, W).
            size (tuple[int]): Height and width of the teacher's.

        Returns:
            Tensor: (N, C_teacher, *size).
        """
        feature = self.conv(feature)
        if feature.shape[-2:] != size:
            feature = F.interpolate(
                feature, size=size, mode='bilinear', align_corners=False)
        return feature
