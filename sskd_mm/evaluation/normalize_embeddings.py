# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from torch import Tensor


def normalize_embeddings(embeddings: Tensor,
                         what: str = 'embeddings',
                         allow_failures: bool = False) -> Tensor:
    """Scale embeddings to length 1.

    Args:
        embeddings (Tensor): Shape (N, D), floating point, on any device.
        what (str): What they are called in error messages. Defaults to
            ``'embeddings'``.
        allow_failures (bool): Whether rows of zeros, of images that could not
            be embedded, stay zeros. Defaults to False: they are an error.

    Returns:
        Tensor: Shape (N, D), float32.

    Raises:
        ValueError: The shape is another, or a row is not finite or, unless
            they are allowed, all zeros, so that it has no direction. The
            message names the first rows.
    """
    if embeddings.dim() != 2:
        raise ValueError(f'The {what} have shape {tuple(embeddings.shape)}, '
                         'but must be (N, D): a row an image.')
    embeddings = embeddings.float()
    # Scaled first, since squares of large or small numbers leave float32.
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
