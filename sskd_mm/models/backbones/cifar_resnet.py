# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from .cifar_backbone import CIFARBackbone


class PaddedShortcut(nn.Module):
    """ResNet's parameter-free shortcut A: subsample the pixels and pad the
    new channels with zeros.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output; half of the new ones go
            before the input's channels, half after.
        stride (int): Stride of the subsampling.
    """

    def __init__(self, in_channels: int, out_channels: int,
                 stride: int) -> None:
        super().__init__()
        added = out_channels - in_channels
        self.before, self.after = added // 2, added - added // 2
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H / stride, W / stride)."""
        x = x[..., ::self.stride, ::self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))


@MODELS.register_module()
class CIFARResNet(CIFARBackbone):
    """ResNet of depth 6n + 2 for CIFAR (*Deep Residual Learning for Image
    Recognition*, arXiv 1512.03385, section 4.2).

    Three stages of n blocks with two 3x3 convolutions each. ResNet-8x4 and
    -32x4 of the distillation literature have ``stem_channels=32,
    base_channels=64``. For its ResNet-50 use mmpretrain's ``ResNet_CIFAR``.

    Args:
        depth (int): 8, 14, 20, 32, 44, 56, 110, ...
        stem_channels (int): Channels of the first convolution. Defaults to
            16.
        base_channels (int): Channels of the first stage; the second has
            twice, the third four times as many. Defaults to 16.
        shortcut (str): Shortcut where a stage changes the shape: ``'A'``,
            subsampling and zero padding, as in the paper for CIFAR; or
            ``'B'``, a 1x1 convolution and a norm, as in the distillation
            literature since CRD (arXiv 1910.10699). Defaults to ``'B'``.
        out_indices (Sequence[int]): Indices of the output stages. Defaults to
            the last.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming.

    Raises:
        ValueError: There is no network of this depth, no such shortcut, or
            ``out_indices`` is empty or out of range.

    Example:
        >>> backbone = dict(type='CIFARResNet', depth=20)
    """

    def __init__(
        self,
        depth: int,
        stem_channels: int = 16,
        base_channels: int = 16,
        shortcut: str = 'B',
        out_indices: Sequence[int] = (2, ),
        init_cfg: Optional[dict] = dict(type='Kaiming', layer='Conv2d')
    ) -> None:
        super().__init__(3, out_indices, init_cfg)
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f'CIFARResNet has no depth={depth}; it must be '
                             '6n + 2: 8, 14, 20, 32, 44, 56, 110, ...')
        if shortcut not in ('A', 'B'):
            raise ValueError(f"shortcut={shortcut!r} must be 'A' (zeros for "
                             "new channels) or 'B' (a 1x1 convolution).")
        self.conv1 = nn.Conv2d(3, stem_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        channels = stem_channels
        for i, name in enumerate(self.layers):
            width, stride = base_channels * 2**i, 1 if i == 0 else 2
            blocks = []
            for _ in range((depth - 2) // 6):
                change = None
                if stride != 1 or channels != width:
                    change = _shortcut(shortcut, channels, width, stride)
                blocks.append(BasicBlock(channels, width, stride, change))
                channels, stride = width, 1
            self.add_module(name, nn.Sequential(*blocks))

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, stem_channels, H, W)."""
        return self.relu(self.bn1(self.conv1(x)))


def _shortcut(option: str, in_channels: int, out_channels: int,
              stride: int) -> nn.Module:
    if option == 'A':
        return PaddedShortcut(in_channels, out_channels, stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels))
