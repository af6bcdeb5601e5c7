# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn

from .cifar_backbone import CIFARBackbone


@MODELS.register_module()
class CIFARVGG(CIFARBackbone):
    """VGG with batch norm for CIFAR, as used by CRD (*Contrastive
    Representation Distillation*, arXiv 1910.10699) and later work.

    VGG's last but one pooling is dropped, and one linear layer replaces
    three. The last two of VGG's five groups of convolutions thus work at one
    resolution and form one stage. Every stage but the first begins with a max
    pooling, and every stage ends with a ReLU.

    Args:
        depth (int): 8, 11, 13, 16 or 19.
        out_indices (Sequence[int]): Indices of the output stages, out of
            four. Defaults to the last.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            Kaiming.

    Raises:
        ValueError: There is no network of this depth, or ``out_indices`` is
            empty or out of range.

    Example:
        >>> backbone = dict(type='CIFARVGG', depth=8)
    """

    # Convolutions of VGG's five groups, by depth.
    arch_settings = {
        8: (1, 1, 1, 1, 1),
        11: (1, 1, 2, 2, 2),
        13: (2, 2, 2, 2, 2),
        16: (2, 2, 3, 3, 3),
        19: (2, 2, 4, 4, 4),
    }

    def __init__(
        self,
        depth: int,
        out_indices: Sequence[int] = (3, ),
        init_cfg: Optional[dict] = dict(type='Kaiming', layer='Conv2d')
    ) -> None:
        super().__init__(4, out_indices, init_cfg)
        if depth not in self.arch_settings:
            raise ValueError(f'CIFARVGG has no depth={depth}; it must be one '
                             f'of {list(self.arch_settings)}.')
        *first, fourth, fifth = self.arch_settings[depth]
        channels = 3
        for i, (name,
                num) in enumerate(zip(self.layers, (*first, fourth + fifth))):
            layers = [] if i == 0 else [nn.MaxPool2d(2)]
            for _ in range(num):
                # With a bias despite the norm, as in the public weights.
                layers += [
                    nn.Conv2d(channels, 64 * 2**i, 3, padding=1),
                    nn.BatchNorm2d(64 * 2**i),
                    nn.ReLU(inplace=True)
                ]
                channels = 64 * 2**i
            self.add_module(name, nn.Sequential(*layers))

    def stem(self, x: Tensor) -> Tensor:
        """Return the images unchanged."""
        return x
