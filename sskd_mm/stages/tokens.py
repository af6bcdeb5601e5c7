# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Tuple

from torch import Tensor

#: Tokens without a position: class, distillation and register tokens.
MAX_EXTRA = 8


def tokens_to_map(tokens: Tensor, image_size: Tuple[int, int]) -> Tensor:
    """Rearrange a transformer's tokens into a feature map.

    The grid has the image's proportions. Extra tokens at the front (class,
    distillation, register tokens) are dropped.

    Args:
        tokens (Tensor): (N, L, C).
        image_size (tuple[int]): Height and width of the network's input.

    Returns:
        Tensor: A map (N, C, H, W) with H W <= L.

    Raises:
        ValueError: L fits no grid of the image's proportions.

    Example:
        >>> tokens_to_map(torch.rand(2, 197, 384), (224, 224)).shape
        torch.Size([2, 384, 14, 14])
    """
    length = tokens.shape[1]
    height, width = image_size
    for extra in range(min(MAX_EXTRA + 1, length)):
        grid = find_grid(length - extra, image_size)
        if grid is not None:
            return tokens[:, extra:].transpose(1, 2).unflatten(2, grid)
    raise ValueError(
        f'{length} tokens form no grid of the proportions of an image of '
        f'{height} x {width}. Tap a module that outputs a feature map, or '
        'tap both networks where they have equally many tokens.')


def find_grid(length: int,
              image_size: Tuple[int, int]) -> Optional[Tuple[int, int]]:
    """The rows and columns of a grid of so many positions with the image's
    proportions; None if there is none.

    Example:
        >>> find_grid(12, (96, 128))
        (3, 4)
    """
    height, width = image_size
    stride = (height * width / length)**0.5
    grid = (round(height / stride), round(width / stride))
    return grid if grid[0] * grid[1] == length else None
