# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn


class AttentionFusion(nn.Module):
    """Fuses a student's feature with that of the deeper stages (ABF).

    ReviewKD (arXiv 2104.09044, Section 3.3 and Figure 3a): a 1x1 convolution
    maps the feature to a common width; the deeper feature, upsampled to its
    size, is added, each weighted by an attention map; and a 3x3 convolution
    maps the sum to the teacher's width.

    Args:
        student_channels (int): Channels of the student's feature.
        mid_channels (int): The common width.
        teacher_channels (int): Channels of the teacher's feature.
        fuse (bool): Whether there is a deeper feature.
    """

    def __init__(self, student_channels: int, mid_channels: int,
                 teacher_channels: int, fuse: bool) -> None:
        super().__init__()
        options = dict(norm_cfg=dict(type='BN'), act_cfg=None)
        self.reduce = ConvModule(student_channels, mid_channels, 1, **options)
        self.attention = nn.Conv2d(2 * mid_channels, 2, 1) if fuse else None
        self.expand = ConvModule(
            mid_channels, teacher_channels, 3, padding=1, **options)
        for module in (self.reduce, self.expand):
            nn.init.kaiming_uniform_(module.conv.weight, a=1)

    def forward(self, feature: Tensor, deeper: Optional[Tensor],
                size: Tuple[int, int]) -> Tuple[Tensor, Tensor]:
        """Fuse two features.

        Args:
            feature (Tensor): The student's feature, (N, C_student, H, W).
            deeper (Tensor, optional): The fused feature of the next stage,
                (N, C_mid, H', W'); none for the last stage.
            size (tuple[int, int]): Height and width of the teacher's feature.

        Returns:
            tuple[Tensor, Tensor]: The feature to compare with the teacher's,
            (N, C_teacher, *size), and the fused feature for the previous
            stage, (N, C_mid, *size).
        """
        fused = self.reduce(feature)
        if self.attention is not None:
            deeper = F.interpolate(deeper, fused.shape[2:], mode='nearest')
            maps = self.attention(torch.cat([fused, deeper], 1)).sigmoid()
            fused = fused * maps[:, :1] + deeper * maps[:, 1:]
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size, mode='nearest')
        return self.expand(fused), fused
