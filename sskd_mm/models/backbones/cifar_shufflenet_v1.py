# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from .cifar_backbone import CIFARBackbone

GROUPS = 3
STEM_CHANNELS = 24


class ShuffleUnit(nn.Module):
    """ShuffleNet's unit, with a ReLU after the depthwise convolution too.

    With stride 2 the pooled input is concatenated to the output, with stride
    1 the input is added.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): 1 or 2.
    """

    def __init__(self, in_channels: int, out_channels: int,
                 stride: int) -> None:
        super().__init__()
        self.stride = stride
        own = out_channels - in_channels if stride == 2 else out_channels
        width = own // 4
        # The stem has too few channels for groups.
        groups = 1 if in_channels == STEM_CHANNELS else GROUPS
        self.conv = nn.Sequential(
            Conv2dNormActivation(in_channels, width, 1, groups=groups),
            nn.ChannelShuffle(groups),
            Conv2dNormActivation(width, width, 3, stride, groups=width),
            nn.Conv2d(width, own, 1, groups=GROUPS, bias=False),
            nn.BatchNorm2d(own))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.conv(x)
        if self.stride == 1:
            return self.relu(x + out)
        pooled = F.avg_pool2d(x, 3, stride=2, padding=1)
        return self.relu(torch.cat([out, pooled], 1))


@MODELS.register_module()
class CIFARShuffleNetV1(CIFARBackbone):
    """ShuffleNet with 3 groups for CIFAR, as used by CRD (*Contrastive
    Representation Distillation*, arXiv 1910.10699) and later work.

    Unlike in ShuffleNet (arXiv 1707.01083), the stem is a 1x1 convolution of
    stride 1 without pooling, and a ReLU follows the depthwise convolutions.

    Args:
        out_indices (Sequence[int]): Indices of the output stages, out of
            three with 240, 480 and 960 channels. Defaults to the last.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            none: PyTorch's default, as in CRD.

    Raises:
        ValueError: ``out_indices`` is empty or out of range.

    Example:
        >>> backbone = dict(type='CIFARShuffleNetV1')
    """

    def __init__(self,
                 out_indices: Sequence[int] = (2, ),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(3, out_indices, init_cfg)
        channels = STEM_CHANNELS
        self.conv1 = Conv2dNormActivation(3, channels, 1)
        for name, width, num in zip(self.layers, (240, 480, 960), (4, 8, 4)):
            units = [ShuffleUnit(channels, width, 2)]
            units += [ShuffleUnit(width, width, 1) for _ in range(num - 1)]
            channels = width
            self.add_module(name, nn.Sequential(*units))

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 24, H, W)."""
        return self.conv1(x)
