# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any


def check_sample_idx(dataset: Any) -> None:
    """See that ``sample_idx`` tells a data set's images from each other.

    A :class:`SeededDataset` sees to it. Of a data set that the caller built,
    and wrapped, it counts the images of the innermost data set: two that are
    joined have the same numbers, and a loss that keeps something of each
    image, as CRD does, takes one for the other.

    Args:
        dataset (Dataset): A training set whose images come with
            ``data_samples``.

    Raises:
        ValueError: Its last image does not have the last number.

    Example:
        >>> check_sample_idx(dataloader.dataset)
    """
    last = len(dataset) - 1
    found = dataset[last]['data_samples'].get('sample_idx', last)
    if found != last:
        raise ValueError(
            f'The last of the {last + 1} training images comes with '
            f'sample_idx={found}: its number in a data set that a '
            f'{type(dataset).__name__} wraps, where others have it, too. Give '
            'the Runner the config of train_dataloader instead of a '
            'DataLoader, or the DataLoader a SeededDataset.')
