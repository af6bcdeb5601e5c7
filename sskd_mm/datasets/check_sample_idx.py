# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any


def check_sample_idx(dataset: Any) -> None:
    """Check that ``sample_idx`` is unique within a data set.

    :class:`SeededDataset` makes it so. In a wrapped data set that the caller
    built, it counts the images of the innermost data set: if two are
    concatenated, numbers repeat, and a loss that stores something per image,
    such as CRD, confuses images.

    Args:
        dataset (Dataset): A training set whose images have ``data_samples``.

    Raises:
        ValueError: The last image does not have the last number.

    Example:
        >>> check_sample_idx(dataloader.dataset)
    """
    last = len(dataset) - 1
    found = dataset[last]['data_samples'].get('sample_idx', last)
    if found != last:
        raise ValueError(
            f'The last of the {last + 1} training images has '
            f'sample_idx={found}: its number within a data set wrapped by '
            f'{type(dataset).__name__}, which is not unique. Pass the Runner '
            'the config of train_dataloader instead of a DataLoader, or wrap '
            'the data set in a SeededDataset.')
