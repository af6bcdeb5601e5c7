# Copyright (c) sskd_mm authors. All rights reserved.
"""How much a score owes to the images that it was measured on: the bootstrap
with percentile intervals of B. Efron and R. J. Tibshirani, *An Introduction to
the Bootstrap*, Chapman & Hall 1993, chapters 6 and 13."""
from typing import Iterator, Tuple

import numpy as np

#: Number of resamples.
RESAMPLES = 1000


def draw_images(images: int) -> Iterator[np.ndarray]:
    """Resample a test set of images with replacement.

    The draws depend only on the number of images, so scores of two networks
    on the same images are paired: resample j is the same for both.

    Args:
        images (int): Number of images, N.

    Yields:
        np.ndarray: How often each image is drawn, shape (N, ), int64. First
        every image once, which gives the score itself; then
        :data:`RESAMPLES` draws of N images.

    Example:
        >>> next(draw_images(3))
        array([1, 1, 1])
    """
    rng = np.random.default_rng(0)
    yield np.ones(images, dtype=np.int64)
    for _ in range(RESAMPLES):
        yield np.bincount(
            rng.integers(images, size=images), minlength=images)


def bootstrap_mean(scores: np.ndarray) -> np.ndarray:
    """Resample a score that is a mean over images, such as accuracy.

    Args:
        scores (np.ndarray): The score of each image, shape (N, ).

    Returns:
        np.ndarray: The mean, and then that of each resample, shape
        (1 + :data:`RESAMPLES`, ).

    Example:
        >>> bootstrap_mean(np.array([0., 100., 100.]))[0]
        66.66666666666667
    """
    return np.array(
        [counts @ scores / len(scores) for counts in draw_images(len(scores))])


def percentile_interval(resampled: np.ndarray,
                        confidence: float = 95) -> Tuple[float, float]:
    """Compute the percentile interval of a bootstrapped score.

    Args:
        resampled (np.ndarray): The score in each resample, shape
            (:data:`RESAMPLES`, ).
        confidence (float): In per cent. Defaults to 95.

    Returns:
        tuple[float, float]: Its ends.

    Example:
        >>> percentile_interval(bootstrap_mean(scores)[1:])
        (71.4, 73.1)
    """
    tail = (100 - confidence) / 2
    low, high = np.percentile(resampled, (tail, 100 - tail))
    return float(low), float(high)
