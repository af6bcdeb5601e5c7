# Copyright (c) sskd_mm authors. All rights reserved.
from torch import Tensor

from .normalize_embeddings import normalize_embeddings


def fuse_mirrored(embeddings: Tensor, mirrored: Tensor) -> Tensor:
    """The embedding of a face from those of its image and the mirrored image.

    Their sum, normalised, as the protocols of LFW, CFP-FP and AgeDB-30 are
    usually run. The two are added as the network gives them.

    Args:
        embeddings (Tensor): Of the images, shape (N, D).
        mirrored (Tensor): Of the same images mirrored, shape (N, D).

    Returns:
        Tensor: Shape (N, D), float32, each of length 1.

    Raises:
        ValueError: The shapes differ, or see :func:`normalize_embeddings`.
    """
    if embeddings.shape != mirrored.shape:
        raise ValueError(
            f'Embeddings of shape {tuple(embeddings.shape)} and of mirrored '
            f'images {tuple(mirrored.shape)} are not of the same images.')
    return normalize_embeddings(embeddings.float() + mirrored.float())
