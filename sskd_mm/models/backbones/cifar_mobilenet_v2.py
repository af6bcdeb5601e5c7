# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from .cifar_backbone import CIFARBackbone


class InvertedResidual(nn.Module):
    """MobileNetV2's block, with ReLU instead of ReLU6.

    Unlike torchvision's, it has the expanding 1x1 convolution even if
    ``expand_ratio`` is 1.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the depthwise convolution.
        expand_ratio (int): Width of the depthwise convolution relative to the
            input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int,
                 expand_ratio: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        width = in_channels * expand_ratio
        self.conv = nn.Sequential(
            Conv2dNormActivation(in_channels, width, 1),
            Conv2dNormActivation(width, width, 3, stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.conv(x)
        return x + out if self.is_residual else out


@MODELS.register_module()
class CIFARMobileNetV2(CIFARBackbone):
    """MobileNetV2 for CIFAR, as used by CRD (*Contrastive Representation
    Distillation*, arXiv 1910.10699) and later work.

    The second of MobileNetV2's five strides (arXiv 1801.04381, table 2) is
    dropped, so 32 x 32 images end as 2 x 2 maps. Unlike in the paper, the
    activation is ReLU, and widths are rounded down instead of to multiples of
    8. The last convolution, to 1280 channels, belongs to the last stage.

    Args:
        widen_factor (float): Multiplier of all widths except the last.
            Defaults to 0.5.
        out_indices (Sequence[int]): Indices of the output stages, out of
            four. Defaults to the last.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming.

    Raises:
        ValueError: ``out_indices`` is empty or out of range.

    Example:
        >>> backbone = dict(type='CIFARMobileNetV2')
    """

    # Per stage, its groups of blocks: expand_ratio, channels, number of
    # blocks, stride of the first.
    arch_settings = (
        ((1, 16, 1, 1), (6, 24, 2, 1)),
        ((6, 32, 3, 2), ),
        ((6, 64, 4, 2), (6, 96, 3, 1)),
        ((6, 160, 3, 2), (6, 320, 1, 1)),
    )

    def __init__(
        self,
        widen_factor: float = 0.5,
        out_indices: Sequence[int] = (3, ),
        init_cfg: Optional[dict] = dict(type='Kaiming', layer='Conv2d')
    ) -> None:
        super().__init__(4, out_indices, init_cfg)
        channels = int(32 * widen_factor)
        self.conv1 = Conv2dNormActivation(3, channels, 3, 2)
        for name, groups in zip(self.layers, self.arch_settings):
            blocks = []
            for expand_ratio, width, num, stride in groups:
                width = int(width * widen_factor)
                for _ in range(num):
                    blocks.append(
                        InvertedResidual(channels, width, stride,
                                         expand_ratio))
                    channels, stride = width, 1
            self.add_module(name, nn.Sequential(*blocks))
        self.layer4.add_module(
            'conv',
            Conv2dNormActivation(channels, max(1280, int(1280 * widen_factor)),
                                 1))

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 32 widen_factor, H / 2, W / 2)."""
        return self.conv1(x)
