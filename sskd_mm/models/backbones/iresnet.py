# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Tuple

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from .check_map_size import check_map_size

#: Blocks of each stage.
_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3)
}


class IResNetBlock(nn.Module):
    """Norm, 3x3 convolution, norm, PReLU, 3x3 convolution, norm; no
    activation after the sum.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the second convolution.
    """

    def __init__(self, in_channels: int, out_channels: int,
                 stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        return out + (x if self.downsample is None else self.downsample(x))


@MODELS.register_module()
class IResNet(BaseModule):
    """The ResNet of face recognition, ending in an embedding.

    This is the network of *ArcFace* (arXiv 1801.07698, section 3.1; blocks
    IR, output E: norm, dropout, linear layer, norm) as insightface implements
    it in PyTorch, with the same parameter names.
    ``tools/model_converters/insightface_to_mmpretrain.py`` converts its
    public weights.

    The four stages ``layer1`` ... ``layer4`` output maps of 56, 28, 14 and 7
    pixels for 112-pixel images; ``features`` outputs the embedding (N, C),
    the last tap of a distillation. As in insightface, the embedding is
    computed in float32 under mixed precision.

    Args:
        depth (int): 18, 34, 50 or 100.
        embedding (int): Size of the embedding. Defaults to 512.
        dropout (float): Dropout before the linear layer. Defaults to 0.
        input_size (int): Side of the images, a multiple of 16. Defaults to
            112.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            a normal distribution with standard deviation 0.1 for
            convolutions, as in insightface.

    Raises:
        ValueError: There is no network of this depth or input size.

    Example:
        >>> backbone = dict(type='IResNet', depth=50)
    """

    def __init__(
        self,
        depth: int,
        embedding: int = 512,
        dropout: float = 0.,
        input_size: int = 112,
        init_cfg: Optional[dict] = dict(type='Normal', layer='Conv2d', std=0.1)
    ) -> None:
        super().__init__(init_cfg)
        if depth not in _BLOCKS:
            raise ValueError(f'IResNet has no depth={depth}; it must be one '
                             f'of {", ".join(map(str, _BLOCKS))}.')
        if input_size % 16:
            raise ValueError(f'input_size={input_size} of IResNet must be a '
                             'multiple of 16, such as 112.')
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        channels = 64
        self.layers = []
        for i, number in enumerate(_BLOCKS[depth]):
            width, stride, blocks = 64 * 2**i, 2, []
            for _ in range(number):
                blocks.append(IResNetBlock(channels, width, stride))
                channels, stride = width, 1
            self.layers.append(f'layer{i + 1}')
            self.add_module(self.layers[-1], nn.Sequential(*blocks))
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.side = input_size // 16
        self.fc = nn.Linear(channels * self.side**2, embedding)
        self.features = nn.BatchNorm1d(embedding)
        # Embeddings are compared by angle, so this scale is of no use.
        self.features.weight.requires_grad = False

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
        x = self.prelu(self.bn1(self.conv1(x)))
        for name in self.layers:
            x = getattr(self, name)(x)
        check_map_size(x, self.side)
        x = self.dropout(self.bn2(x).flatten(1))
        with torch.autocast(x.device.type, enabled=False):
            x = self.fc(x.to(self.fc.weight.dtype))
            return (self.features(x), )
