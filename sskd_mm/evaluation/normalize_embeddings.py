# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from torch import Tensor


def normalize_embeddings(embeddings: Tensor,
                         what: str = 'embeddings',
                         allow_failures: bool = False) -> Tensor:
    """Scale embeddings to unit length.

    Args:
        embeddings (Tensor): Shape (N, D), floating point, on any device.
        what (str): Their name in error messages. Defaults to
            ``'embeddings'``.
        allow_failures (bool): Whether all-zero rows, of images that could not
            be embedded, are allowed and stay zero. Defaults to False.

    Returns:
        Tensor: Shape (N, D), float32.

    Raises:
        ValueError: The shape is wrong, or a row is not finite or, unless
            allowed, all zeros. The message names the first rows.
    """
    if embeddings.dim() != 2:
        raise ValueError(f'The {what} have shape {tuple(embeddings.shape)}, '
                         'but must be (N, D), one row per image.')
    embeddings = embeddings.float()
    # Rescaled first: squares of large or small values overflow float32.
    scale = embeddings.abs().amax(1, keepdim=True)
    if allow_failures:
        scale = torch.where(scale == 0, 1, scale)
    bad = (~(torch.isfinite(scale) & (scale > 0)))[:, 0].nonzero()[:, 0]
    if len(bad):
        rows = ', '.join(map(str, bad[:5].tolist()))
        raise ValueError(
            f'{len(bad)} of {len(embeddings)} {what} are NaN, infinite or all '
            f'zeros (rows {rows}{", ..." if len(bad) > 5 else ""}): they have '
            'no similarity to anything. Look for a checkpoint that diverged, '
            'overflow in half precision, or images that are empty.')
    return torch.nn.functional.normalize(embeddings / scale)
