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
    """One embedding a template, as IJB-A, -B and -C are usually run.

    The frames of one video are averaged, then the media of a template, each
    still image being a medium of its own: a video of 500 frames counts as
    much as a photograph. The result is normalised. Images are taken as they
    are given; normalise them before if their length should not weigh. An image
    whose embedding is all zeros could not be embedded and takes no part; a
    template that has no other image is all zeros, too.

    Args:
        embeddings (Tensor): Of the images, shape (N, D), on any device.
        templates (np.ndarray): Template of each image, shape (N, ), int.
        media (np.ndarray): Medium of each image within its template, shape
            (N, ), int.
        block_size (int): About how many images are in memory in float64 at a
            time. Defaults to 65536.

    Returns:
        tuple[np.ndarray, Tensor]: The templates in rising order, shape
        (T, ), and their embeddings, shape (T, D), float32.

    Raises:
        ValueError: The lengths differ, there are no images that could be
            embedded, or the mean of a template has no direction, see
            :func:`normalize_embeddings`.
    """
    if not len(embeddings) == len(templates) == len(media) > 0:
        raise ValueError(
            f'{len(embeddings)} embeddings, {len(templates)} template and '
            f'{len(media)} media numbers: there must be one each an image, '
            'and at least one image.')
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
    """Means of consecutive rows."""
    return torch.segment_reduce(
        x, 'mean', lengths=torch.as_tensor(lengths).to(x.device))
