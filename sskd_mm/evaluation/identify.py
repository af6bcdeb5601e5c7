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
    """Run 1:N identification: the first images of each person, pooled into
    one template, are the gallery, and the others are probes.

    Args:
        embeddings (Tensor): Embeddings of all images, shape (N, D).
        labels (np.ndarray): The person in each image, shape (N, ).
        gallery (int): Images per person in the gallery. Defaults to 1.
        open_set (bool): Whether to split the people alternately into two
            galleries, so that each lacks half of the probes' people. Defaults
            to False: all people are in one gallery.
        block_size (int): See :func:`search_gallery`. Defaults to 4096.

    Returns:
        Identification: The result for one or two galleries.

    Raises:
        ValueError: Nobody has more images than the gallery takes, or
            ``open_set`` is set and there is only one person.
    """
    people, person = np.unique(labels, return_inverse=True)
    order = np.argsort(person, kind='stable')
    counts = np.bincount(person)
    number = np.empty(len(order), int)  # index among the person's images
    number[order] = np.arange(len(order)) - np.repeat(
        counts.cumsum() - counts, counts)
    enrolled = np.flatnonzero(number < gallery)
    probes = np.flatnonzero(number >= gallery)
    if not len(probes):
        raise ValueError(f'Nobody has more than the {gallery} images of the '
                         'gallery, so there are no probes.')
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
