# Copyright (c) sskd_mm authors. All rights reserved.
import io

import mmcv
import numpy as np
from PIL import Image

#: 64 megapixels, more than any face data set needs.
MAX_PIXELS = 1 << 26


class ImageError(ValueError):
    """An image cannot be decoded, or claims to be huge."""


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image from an untrusted file.

    A PNG of 124 kB can claim a gigapixel, so the size is read first.

    Args:
        data (bytes): An encoded image.

    Returns:
        np.ndarray: BGR, shape (H, W, 3).

    Raises:
        ImageError: It is not an image, or exceeds :data:`MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        width = height = MAX_PIXELS
    except Exception:  # OpenCV reads other formats, too
        width = height = 0
    if width * height > MAX_PIXELS:
        raise ImageError(f'claims more than {MAX_PIXELS:,} pixels, so it was '
                         'not decoded')
    try:
        decoded = mmcv.imfrombytes(data)
    except Exception:  # OpenCV raises for an empty buffer
        decoded = None
    if decoded is None:
        raise ImageError('cannot be decoded')
    return decoded
