# Copyright (c) sskd_mm authors. All rights reserved.
from torch import Tensor


def check_map_size(x: Tensor, side: int) -> None:
    """Check that a network for faces got images of its ``input_size``.

    Args:
        x (Tensor): The last map, of a sixteenth of the images' sides,
            (N, C, H, W).
        side (int): What H and W have to be.

    Raises:
        ValueError: They are not; says how large the images are.
    """
    height, width = x.shape[-2:]
    if (height, width) != (side, side):
        raise ValueError(
            f'The network for faces has input_size={16 * side}, but the '
            f'images are of about {16 * height} x {16 * width} pixels. Give '
            f"the backbone their size, or resize them: dict(type='Resize', "
            f"scale=({16 * side}, {16 * side})), or where they are aligned "
            f"dict(type='AlignFace', size={16 * side}).")
