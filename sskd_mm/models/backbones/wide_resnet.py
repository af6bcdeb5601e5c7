# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn

from .cifar_backbone import CIFARBackbone


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each preceded by a norm and a ReLU.

    If the width changes, the shortcut is a 1x1 convolution of the first
    ReLU's output; otherwise it is the input.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int,
                 stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(
                in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.relu(self.bn1(x))
        if self.shortcut is not None:
            x = self.shortcut(out)
        out = self.relu(self.bn2(self.conv1(out)))
        return x + self.conv2(out)


@MODELS.register_module()
class WideResNet(CIFARBackbone):
    """WRN-d-w for CIFAR (*Wide Residual Networks*, arXiv 1605.07146), without
    dropout.

    Three stages of (d - 4) / 6 pre-activation blocks. The last norm and ReLU
    belong to the last stage; the other stages output pre-activation features,
    which is what the distillation literature compares.

    Args:
        depth (int): 10, 16, 22, 28, 40, ...
        widen_factor (int): The stages have 16, 32 and 64 channels times this.
        out_indices (Sequence[int]): Indices of the output stages. Defaults to
            the last.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming.

    Raises:
        ValueError: There is no network of this depth, or ``out_indices`` is
            empty or out of range.

    Example:
        >>> backbone = dict(type='WideResNet', depth=40, widen_factor=2)
    """

    def __init__(
        self,
        depth: int,
        widen_factor: int,
        out_indices: Sequence[int] = (2, ),
        init_cfg: Optional[dict] = dict(type='Kaiming', layer='Conv2d')
    ) -> None:
        super().__init__(3, out_indices, init_cfg)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f'WideResNet has no depth={depth}; it must be '
                             '6n + 4: 10, 16, 22, 28, 40, ...')
        channels = 16
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        for i, name in enumerate(self.layers):
            width, stride = 16 * widen_factor * 2**i, 1 if i == 0 else 2
            blocks = []
            for _ in range((depth - 4) // 6):
                blocks.append(PreActivationBlock(channels, width, stride))
                channels, stride = width, 1
            self.add_module(name, nn.Sequential(*blocks))
        self.layer3.add_module('bn', nn.BatchNorm2d(channels))
        self.layer3.add_module('relu', nn.ReLU(inplace=True))

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 16, H, W)."""
        return self.conv1(x)
