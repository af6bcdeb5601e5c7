# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple

import numpy as np


def all_pairs(labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List all pairs of images.

    Args:
        labels (np.ndarray): The person in each image, shape (N, ).

    Returns:
        tuple[np.ndarray]: First image, second image and whether they show the
        same person, each of shape (N (N - 1) / 2, ).
    """
    labels = np.asarray(labels)
    first, second = np.triu_indices(len(labels), 1)
    return first, second, labels[first] == labels[second]
