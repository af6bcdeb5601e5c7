# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Optional

import numpy as np


def read_multi_labels(dataset: Any) -> Optional[np.ndarray]:
    """Read the labels of a multi-label data set.

    Args:
        dataset (Dataset): Any data set, possibly wrapped. Images are only
            loaded if they are stored together with their labels.

    Returns:
        np.ndarray or None: Which image has which class, bool, (N, C); None if
        images have a single label, boxes or no labels.

    Example:
        >>> read_multi_labels(dataset).mean(0)  # how frequent each class is
    """
    get_info = getattr(dataset, 'get_data_info', None)
    if get_info is None or not len(dataset):
        return None
    if np.ndim(get_info(0).get('gt_label', 0)) != 1:
        return None
    labels = [
        np.asarray(get_info(i)['gt_label'], int) for i in range(len(dataset))
    ]
    metainfo = getattr(dataset, 'metainfo', None)
    classes = metainfo.get('classes') if isinstance(metainfo, dict) else None
    number = max(x.max() + 1 for x in labels if len(x)) if any(
        map(len, labels)) else 0
    found = np.zeros((len(labels), max(number, len(classes or ()))), bool)
    for row, each in zip(found, labels):
        row[each] = True
    return found
