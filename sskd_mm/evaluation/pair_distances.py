# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import torch
from torch import Tensor


def pair_distances(embeddings: Tensor,
                   first: np.ndarray,
                   second: np.ndarray,
                   block_size: int = 16384) -> np.ndarray:
    r"""Compute squared L2 distances :math:`\lVert a-b \rVert^2` of pairs.

    For unit-length embeddings this is 2 - 2 x cosine similarity, from 0 to 4.
    Computed block by block in float64 and rounded to float32, so that the
    result depends on neither the device nor the block size.

    Args:
        embeddings (Tensor): Shape (N, D), on any device.
        first (np.ndarray): Row of the first of each pair, shape (P, ), int.
        second (np.ndarray): Row of the second, shape (P, ), int.
        block_size (int): Pairs per block. Defaults to 16384, which takes
            about 200 MB for 512 channels.

    Returns:
        np.ndarray: Shape (P, ), float32.

    Raises:
        IndexError: A pair names a row out of range.
    """
    for rows in (first, second):
        if len(rows) and not (0 <= rows.min()
                              and rows.max() < len(embeddings)):
            raise IndexError(
                f'The pairs name images {rows.min()} to {rows.max()}, but '
                f'there are {len(embeddings)} embeddings. They must be of all '
                'images of the set, in its order.')
    distances = np.empty(len(first), np.float32)
    for start in range(0, len(first), block_size):
        block = slice(start, start + block_size)
        a, b = (embeddings[torch.as_tensor(rows[block].astype(np.int64)).to(
            embeddings.device)].double() for rows in (first, second))
        distances[block] = (a - b).square_().sum(1).cpu().numpy()
    return distances
