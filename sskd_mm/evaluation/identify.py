# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
from torch import Tensor

from .identification import Identification
from .normalize_embeddings import normalize_embeddings
from .pool_templates import pool_templates
from .search_gallery import search_gallery


def identify(embeddings: Tensor,
             labels: np.ndarray,
             gallery: int = 1,
             open_set: bool = False,
             block_size: int = 4096) -> Identification:
    """1:N identification where the first images of each person are the
    gallery, pooled into one template, and the others are probes.

    Args:
        embeddings (Tensor): Of all images, shape (N, D).
        labels (np.ndarray): Who each image shows, shape (N, ).
        gallery (int): Images of each person in the gallery. Defaults to 1.
        open_set (bool): The people are parted into two galleries, every other
            one in the second, so that each lacks half of the probes' people.
            Defaults to False: all people in one gallery.
        block_size (int): See :func:`search_gallery`. Defaults to 4096.

    Returns:
        Identification: With one or two galleries.

    Raises:
        ValueError: Nobody has more images than go into the gallery, or for
            ``open_set`` there is only one person.
    """
    people, person = np.unique(labels, return_inverse=True)
    order = np.argsort(person, kind='stable')
    counts = np.bincount(person)
    number = np.empty(len(order), int)  # of an image among its person's
    number[order] = np.arange(len(order)) - np.repeat(
        counts.cumsum() - counts, counts)
    enrolled = np.flatnonzero(number < gallery)
    probes = np.flatnonzero(number >= gallery)
    if not len(probes):
        raise ValueError(f'Nobody has more than the {gallery} images that go '
                         'into the gallery, so nothing is left to search.')
    if open_set and len(people) < 2:
        raise ValueError('Two galleries need at least two people.')
    embeddings = normalize_embeddings(embeddings)
    who, templates = pool_templates(embeddings[enrolled], person[enrolled],
                                    enrolled)
    parts = [slice(0, None, 2), slice(1, None, 2)] if open_set else [
        slice(None)
    ]
    return Identification([
        search_gallery(embeddings[probes], person[probes], templates[part],
                       who[part], block_size) for part in parts
    ])
