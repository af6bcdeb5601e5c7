# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator


def innermost_configs(cfg: Any) -> Iterator[dict]:
    """The configs of the data sets that wrappers hold.

    Args:
        cfg (dict or None): A data set's config. Wrappers, such as
            ``RepeatDataset`` and ``ConcatDataset``, may lie in each other.

    Yields:
        dict: The config of each data set that reads files itself.

    Example:
        >>> list(innermost_configs(dict(type='RepeatDataset', times=2,
        ...                          dataset=dict(type='CocoDataset'))))
        [{'type': 'CocoDataset'}]
    """
    if not isinstance(cfg, dict):
        return
    inner = cfg.get('datasets', cfg.get('dataset'))
    if inner is None:
        yield cfg
    else:
        for each in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from innermost_configs(each)


def innermost_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets that wrappers hold, once they are built.

    Args:
        dataset (Dataset): Any.

    Yields:
        Dataset: Each that reads files itself.
    """
    inner = getattr(dataset, 'datasets', None)
    if inner is None:
        inner = [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for each in inner:
            yield from innermost_datasets(each)
