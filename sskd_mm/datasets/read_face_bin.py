# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, List, Tuple

import numpy as np

from .plain_pickle import PlainPickleError, load_plain_pickle


class FaceBinError(ValueError):
    """A ``.bin`` file of face pairs cannot be used."""


def read_face_bin(file: str) -> Tuple[List[bytes], np.ndarray]:
    """Read the pairs of an insightface ``.bin`` file.

    LFW, CFP-FP, AgeDB-30, CALFW and CPLFW are distributed as pickles of a
    list of 2 P encoded images and a list of P bools: images 2 i and 2 i + 1
    form a pair. Nothing else is unpickled, see :func:`load_plain_pickle`, and
    mxnet is not needed.

    Args:
        file (str): The file.

    Returns:
        tuple[list[bytes], np.ndarray]: 2 P encoded images, and whether each
        pair shows the same person, shape (P, ), bool.

    Raises:
        FileNotFoundError: There is no such file.
        FaceBinError: It is truncated, holds anything else, or the numbers of
            images and pairs do not match.
    """
    with open(file, 'rb') as opened:
        data = opened.read()
    try:
        content = load_plain_pickle(data)
        images, same = _parts(content)
    except PlainPickleError as error:
        raise FaceBinError(
            f'{file!r} cannot be read: {error}. It should be a pickle of a '
            'list of encoded images and a list of bools, as published by '
            'insightface; copy it again from a trusted source.') from error
    if len(images) != 2 * len(same) or not images:
        raise FaceBinError(
            f'{file!r} has {len(images)} images and {len(same)} pairs, which '
            f'need {2 * len(same) or "some"} images. The file is broken: copy '
            'or create it again.')
    return images, same


def _parts(content: Any) -> Tuple[List[bytes], np.ndarray]:
    if not isinstance(content, (list, tuple)) or len(content) != 2:
        raise PlainPickleError('it is not a pair of lists')
    images, same = content
    if not isinstance(images, (list, tuple)):
        raise PlainPickleError(f'its images are a {type(images).__name__}, '
                               'not a list')
    encoded = []
    arrays: Dict[int, bytes] = {}  # an image can be in several pairs
    for number, image in enumerate(images):
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            if id(image) not in arrays:
                arrays[id(image)] = image.tobytes()
            image = arrays[id(image)]
        if not isinstance(image, bytes):
            raise PlainPickleError(f'its image {number} is not bytes but '
                                   f'{type(image).__name__}')
        encoded.append(image)
    if not isinstance(same, (list, tuple, np.ndarray)) or not all(
            isinstance(x, (bool, int, np.bool_, np.integer)) and x in (0, 1)
            for x in same):
        raise PlainPickleError('its second part is not a list of bools')
    return encoded, np.array(same, bool)
