# Copyright (c) sskd_mm authors. All rights reserved.
from torch import Tensor


def check_map_size(x: Tensor, side: int) -> None:
    """Check that a face network gets images of its ``input_size``.

    Args:
        x (Tensor): The last map, at 1/16 of the image size, (N, C, H, W).
        side (int): The expected H and W.

    Raises:
        ValueError: H or W differs; the message gives the image size.
    """
    height, width = x.shape[-2:]
    if (height, width) != (side, side):
        raise ValueError(
            f'The face network has input_size={16 * side}, but the images '
            f'have about {16 * height} x {16 * width} pixels. Set input_size '
            f"to their size, or resize them: dict(type='Resize', "
            f"scale=({16 * side}, {16 * side})), or, if the pipeline aligns "
            f"them, dict(type='AlignFace', size={16 * side}).")
