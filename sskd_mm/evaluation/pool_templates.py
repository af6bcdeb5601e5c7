# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple

import numpy as np
import torch
from torch import Tensor

from .normalize_embeddings import normalize_embeddings


def pool_templates(embeddings: Tensor,
                   templates: np.ndarray,
                   media: np.ndarray,
                   block_size: int = 65536) -> Tuple[np.ndarray, Tensor]:
    """Pool embeddings into templates, as usual for IJB-A, -B and -C.

    The frames of each video are averaged, then the media of a template; a
    still image is a medium of its own. So a video of 500 frames counts as
    much as a photo. The result is normalised, the inputs are not: normalise
    them first if their length should not be their weight. An all-zero
    embedding marks an image that could not be embedded and is ignored; a
    template without other images is all zeros, too.

    Args:
        embeddings (Tensor): Embeddings of the images, shape (N, D), on any
            device.
        templates (np.ndarray): Template of each image, shape (N, ), int.
        media (np.ndarray): Medium of each image within its template, shape
            (N, ), int.
        block_size (int): Approximate number of images in memory in float64 at
            a time. Defaults to 65536.

    Returns:
        tuple[np.ndarray, Tensor]: The templates in ascending order, shape
        (T, ), and their embeddings, shape (T, D), float32.

    Raises:
        ValueError: The lengths differ, no image could be embedded, or the
            mean of a template has no direction, see
            :func:`normalize_embeddings`.
    """
    if not len(embeddings) == len(templates) == len(media) > 0:
        raise ValueError(
            f'{len(embeddings)} embeddings, {len(templates)} template and '
            f'{len(media)} media numbers: there must be one of each per '
            'image, and at least one image.')
    everyone = np.unique(templates)
    order = np.lexsort((media, templates))
    order = order[embeddings.any(1).cpu().numpy()[order]]
    if not len(order):
        raise ValueError(f'All {len(embeddings)} embeddings are zeros: no '
                         'image could be embedded.')
    templates, media = np.asarray(templates)[order], np.asarray(media)[order]
    numbers, starts = np.unique(templates, return_index=True)
    ends = np.append(starts[1:], len(templates))
    pooled = []
    begin = 0
    while begin < len(numbers):
        # Whole templates, at least one.
        end = max(begin + 1,
                  np.searchsorted(ends, starts[begin] + block_size, 'right'))
        images = slice(starts[begin], ends[end - 1])
        t, m = templates[images], media[images]
        new = np.append(True, (t[1:] != t[:-1]) | (m[1:] != m[:-1]))
        frames = np.diff(np.append(new.nonzero()[0], len(t)))
        count = np.unique(t[new], return_counts=True)[1]
        x = embeddings[torch.as_tensor(order[images]).to(embeddings.device)]
        x = _mean(_mean(x.double(), frames), count)
        pooled.append(x.float())
        begin = end
    found = normalize_embeddings(torch.cat(pooled), 'templates')
    result = found.new_zeros(len(everyone), found.shape[1])
    rows = np.searchsorted(everyone, numbers)
    result[torch.as_tensor(rows).to(found.device)] = found
    return everyone, result


def _mean(x: Tensor, lengths: np.ndarray) -> Tensor:
    """Average consecutive rows."""
    return torch.segment_reduce(
        x, 'mean', lengths=torch.as_tensor(lengths).to(x.device))
