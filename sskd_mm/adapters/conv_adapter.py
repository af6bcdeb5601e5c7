# Copyright (c) sskd_mm authors. All rights reserved.
from collections import OrderedDict
from typing import Optional, Tuple

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ConvAdapter(BaseModule):
    """Maps a student's feature to the shape of the teacher's.

    Different widths are mapped by a 1x1 convolution, as in FitNets (arXiv
    1412.6550); equal ones pass unchanged. Larger maps are average-pooled to
    the teacher's size, smaller ones upsampled bilinearly. An adapter trains
    with its stage and is dropped with the teacher; it is never part of a
    checkpoint's ``state_dict``.

    Args:
        student_channels (int): Channels of the student's feature; filled in
            by the dry run, like the next.
        teacher_channels (int): Channels of the teacher's feature.
        norm_cfg (dict, optional): Config of a norm layer after the
            convolution, e.g. ``dict(type='BN')``; for maps only. Defaults to
            None.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming's.

    Example:
        >>> adapter = dict(type='ConvAdapter', norm_cfg=dict(type='BN'))
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        norm_cfg: Optional[dict] = None,
        init_cfg: Optional[dict] = dict(
            type='Kaiming', layer='Conv2d', nonlinearity='linear')
    ) -> None:
        super().__init__(init_cfg)
        if student_channels == teacher_channels:
            self.conv = nn.Identity()
        elif norm_cfg is None:
            self.conv = nn.Conv2d(student_channels, teacher_channels, 1)
        else:
            # Not a ConvModule, whose own initialisation overrides init_cfg.
            name, norm = build_norm_layer(norm_cfg, teacher_channels)
            conv = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
            self.conv = nn.Sequential(OrderedDict(conv=conv, **{name: norm}))

    def forward(self, feature: Tensor, shape: Tuple[int, ...]) -> Tensor:
        """Adapt one feature.

        Args:
            feature (Tensor): The student's: a map (N, C_student, H, W),
                tokens (N, L, C_student) or embeddings (N, C_student).
            shape (tuple[int]): Shape of the teacher's, of the same kind.

        Returns:
            Tensor: Of that shape.
        """
        if feature.dim() == 4 and feature.shape[-1] > shape[-1]:
            # Before the convolution, which is cheaper on a smaller map.
            feature = F.adaptive_avg_pool2d(feature, shape[-2:])
        if isinstance(self.conv, nn.Identity):
            pass
        elif feature.dim() == 4:
            feature = self.conv(feature)
        elif feature.dim() == 3:
            feature = self.conv(feature.transpose(1, 2)[..., None])
            feature = feature[..., 0].transpose(1, 2)
        else:
            feature = self.conv(feature[..., None, None]).flatten(1)
        if feature.dim() == 4 and feature.shape[-2:] != shape[-2:]:
            feature = F.interpolate(
                feature, size=shape[-2:], mode='bilinear', align_corners=False)
        return feature
