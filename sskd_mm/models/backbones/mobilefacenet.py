# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence, Tuple

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from .check_map_size import check_map_size


class Bottleneck(nn.Module):
    """A 1x1, a depthwise 3x3 and a linear 1x1 convolution.

    Args:
        in_channels (int): Channels of the input.
        mid_channels (int): Channels between the convolutions.
        out_channels (int): Channels of the output.
        stride (int): Stride of the 3x3 convolution. If 1, the input is added
            to the output.
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int,
                 stride: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(in_channels, mid_channels, 1),
            _conv(mid_channels, mid_channels, 3, stride, groups=mid_channels),
            _conv(mid_channels, out_channels, 1, linear=True))
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.conv(x)
        return x + out if self.residual else out


class GlobalDepthwiseConv(nn.Module):
    """A depthwise convolution over the whole map, a linear layer and a norm.

    Args:
        channels (int): Channels of the map.
        side (int): Height and width of the map.
        embedding (int): Size of the embedding.
    """

    def __init__(self, channels: int, side: int, embedding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, side, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, embedding, bias=False)
        self.bn2 = nn.BatchNorm1d(embedding)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, side, side) to (N, embedding), in float32 under mixed
        precision."""
        check_map_size(x, self.conv.kernel_size[0])
        with torch.autocast(x.device.type, enabled=False):
            x = self.bn1(self.conv(x.to(self.conv.weight.dtype)))
            return self.bn2(self.fc(x.flatten(1)))


@MODELS.register_module()
class MobileFaceNet(BaseModule):
    """MobileFaceNet (arXiv 1804.07573), as insightface implements it.

    Compared with the paper, its blocks have ``scale`` times the channels and
    the embedding has 512 elements.
    ``tools/model_converters/insightface_to_mmpretrain.py`` converts its
    public weights.

    Like those of :class:`IResNet`, the four stages ``layer1`` ... ``layer4``
    output maps of 56, 28, 14 and 7 pixels for 112-pixel images; the last one
    includes the 1x1 convolution before the pooling. ``features`` outputs the
    embedding (N, C), the last tap of a distillation.

    Args:
        blocks (Sequence[int]): Blocks per stage, not counting strided ones.
            If the first is 1, that stage has a single 3x3 convolution
            instead. Insightface's large network has (2, 8, 12, 4). Defaults
            to (1, 4, 6, 2).
        scale (int): Width: the first two stages output 64 times ``scale``
            channels, the blocks of the others 128 times ``scale``. The large
            network has 4. Defaults to 2.
        embedding (int): Size of the embedding. Defaults to 512.
        input_size (int): Side of the images, a multiple of 16. Defaults to
            112.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming, as in insightface.

    Raises:
        ValueError: There is no network with such blocks or this input size.

    Example:
        >>> backbone = dict(type='MobileFaceNet')
    """

    def __init__(
        self,
        blocks: Sequence[int] = (1, 4, 6, 2),
        scale: int = 2,
        embedding: int = 512,
        input_size: int = 112,
        init_cfg: Optional[dict] = dict(
            type='Kaiming', layer=['Conv2d', 'Linear'])
    ) -> None:
        super().__init__(init_cfg)
        if len(blocks) != 4 or min(blocks) < 1:
            raise ValueError(f'blocks={blocks} of MobileFaceNet must be four '
                             'numbers, at least 1 each: (1, 4, 6, 2).')
        if input_size % 16:
            raise ValueError(f'input_size={input_size} of MobileFaceNet must '
                             'be a multiple of 16, such as 112.')
        width, wide = 64 * scale, 128 * scale
        self.layers = [f'layer{i + 1}' for i in range(4)]
        # The width between the 1x1 convolutions does not grow with the scale.
        first = ([_conv(width, width, 3, groups=64)]
                 if blocks[0] == 1 else _blocks(blocks[0], 128, width))
        self.layer1 = nn.Sequential(_conv(3, width, 3, 2), *first)
        self.layer2 = nn.Sequential(
            Bottleneck(width, 128, width, 2), *_blocks(blocks[1], 128, width))
        self.layer3 = nn.Sequential(
            Bottleneck(width, 256, wide, 2), *_blocks(blocks[2], 256, wide))
        self.layer4 = nn.Sequential(
            Bottleneck(wide, 512, wide, 2), *_blocks(blocks[3], 256, wide),
            _conv(wide, 512, 1))
        self.features = GlobalDepthwiseConv(512, input_size // 16, embedding)

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        """Embed faces.

        Args:
            x (Tensor): Aligned images (N, 3, H, W); H and W equal
                ``input_size``.

        Returns:
            tuple[Tensor]: The embeddings (N, C), not normalised.

        Raises:
            ValueError: The images have another size.
        """
        for name in self.layers:
            x = getattr(self, name)(x)
        return (self.features(x), )


def _conv(in_channels: int,
          out_channels: int,
          kernel_size: int,
          stride: int = 1,
          groups: int = 1,
          linear: bool = False) -> nn.Sequential:
    """Build a convolution, its norm and, unless linear, a PReLU."""
    layers = [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False),
        nn.BatchNorm2d(out_channels)
    ]
    if not linear:
        layers.append(nn.PReLU(out_channels))
    return nn.Sequential(*layers)


def _blocks(number: int, mid_channels: int, channels: int) -> list:
    return [
        Bottleneck(channels, mid_channels, channels, 1) for _ in range(number)
    ]
