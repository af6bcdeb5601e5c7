# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation

from .cifar_backbone import CIFARBackbone


@MODELS.register_module()
class CIFARShuffleNetV2(CIFARBackbone):
    """ShuffleNetV2 1x for CIFAR, as used by CRD (*Contrastive Representation
    Distillation*, arXiv 1910.10699) and later work.

    Unlike in ShuffleNetV2 (arXiv 1807.11164), the stem is a 1x1 convolution
    of stride 1 without pooling. The last convolution, to 1024 channels,
    belongs to the last stage.

    Args:
        out_indices (Sequence[int]): Indices of the output stages, out of
            three with 116, 232 and 1024 channels. Defaults to the last.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            none: PyTorch's default, as in CRD.

    Raises:
        ValueError: ``out_indices`` is empty or out of range.

    Example:
        >>> backbone = dict(type='CIFARShuffleNetV2')
    """

    def __init__(self,
                 out_indices: Sequence[int] = (2, ),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(3, out_indices, init_cfg)
        channels = 24
        self.conv1 = Conv2dNormActivation(3, channels, 1)
        for name, width, num in zip(self.layers, (116, 232, 464), (4, 8, 4)):
            units = [InvertedResidual(channels, width, 2)]
            units += [
                InvertedResidual(width, width, 1) for _ in range(num - 1)
            ]
            channels = width
            self.add_module(name, nn.Sequential(*units))
        self.layer3.add_module('conv', Conv2dNormActivation(channels, 1024, 1))

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 24, H, W)."""
        return self.conv1(x)
