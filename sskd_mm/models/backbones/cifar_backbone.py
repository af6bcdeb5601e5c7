# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence, Tuple

from mmengine.model import BaseModule
from torch import Tensor


class CIFARBackbone(BaseModule):
    """Base class of networks for 32 x 32 images: a stem and the stages
    ``layer1``, ``layer2``, ...

    Each stage works at one resolution. The last one includes everything up to
    the pooling (a WRN's last norm, a MobileNetV2's last convolution), so its
    tap is the input of the head.

    Args:
        num_stages (int): The number of stages, which the subclass adds.
        out_indices (Sequence[int]): Indices of the output stages, counted
            from 0 or, if negative, from the end.
        init_cfg (dict, optional): Config of the initialisation.

    Raises:
        ValueError: ``out_indices`` is empty or out of range.
    """

    def __init__(self,
                 num_stages: int,
                 out_indices: Sequence[int],
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if not out_indices or not all(-num_stages <= i < num_stages
                                      for i in out_indices):
            raise ValueError(
                f'out_indices={out_indices} of {type(self).__name__} must '
                f'name at least one of its {num_stages} stages, from 0 to '
                f'{num_stages - 1}.')
        self.out_indices = tuple(sorted(i % num_stages for i in out_indices))
        self.layers = [f'layer{i + 1}' for i in range(num_stages)]

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Run the network.

        Args:
            x (Tensor): Images (N, 3, H, W).

        Returns:
            tuple[Tensor]: The outputs of the stages in ``out_indices``.
        """
        x = self.stem(x)
        outs = []
        for i, name in enumerate(self.layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def stem(self, x: Tensor) -> Tensor:
        """Run the layers before the first stage."""
        raise NotImplementedError
