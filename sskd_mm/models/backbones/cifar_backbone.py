# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence, Tuple

from mmengine.model import BaseModule
from torch import Tensor


class CIFARBackbone(BaseModule):
    """A stem and the stages ``layer1``, ``layer2``, ... of a network for
    images of 32 x 32.

    A stage is what works at one resolution. The last one ends with all that
    comes before the pooling (a WRN's last norm, a MobileNetV2's last
    convolution), so its tap is what the head gets.

    Args:
        num_stages (int): The number of stages, which the subclass adds.
        out_indices (Sequence[int]): Which stages are output, counted from 0
            or, negative, from the end.
        init_cfg (dict, optional): Config of the
            initialisation.

    Raises:
        ValueError: ``out_indices`` is empty or names a stage that is not
            there.
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
                f'number some of its {num_stages} stages, from 0 to '
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
        """What comes before the first stage."""
        raise NotImplementedError
