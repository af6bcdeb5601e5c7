# Copyright (c) sskd_mm authors. All rights reserved.
import io

import mmcv
import numpy as np
from PIL import Image

#: No set of faces has images of 64 megapixels.
MAX_PIXELS = 1 << 26


class ImageError(ValueError):
    """An image cannot be decoded, or claims to be huge."""


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image of a file that may come from a stranger.

    A PNG of 124 kB can claim a gigapixel, so its size is read first.

    Args:
        data (bytes): An encoded image.

    Returns:
        np.ndarray: BGR, shape (H, W, 3).

    Raises:
        ImageError: It is no image, or has more than :data:`MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        width = height = MAX_PIXELS
    except Exception:  # OpenCV knows other formats, too
        width = height = 0
    if width * height > MAX_PIXELS:
        raise ImageError(f'claims more than {MAX_PIXELS:,} pixels, so it was '
                         'not decoded')
    try:
        decoded = mmcv.imfrombytes(data)
    except Exception:  # of OpenCV, for an empty buffer
        decoded = None
    if decoded is None:
        raise ImageError('cannot be decoded')
    return decoded
