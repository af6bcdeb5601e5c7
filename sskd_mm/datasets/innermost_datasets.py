# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator


def innermost_datasets(dataset: Any) -> Iterator[dict]:
    """The data sets in wrappers such as RepeatDataset and ConcatDataset.

    Args:
        dataset (dict, optional): A data set's config.

    Yields:
        dict: The config of each that wraps no other.

    Example:
        >>> [x.ann_file
        ...  for x in innermost_datasets(cfg.test_dataloader.dataset)]
    """
    if not isinstance(dataset, dict):
        return
    inner = dataset.get('datasets', dataset.get('dataset'))
    if inner is None:
        yield dataset
    else:
        for each in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from innermost_datasets(each)
