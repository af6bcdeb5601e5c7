# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator


def innermost_configs(cfg: Any) -> Iterator[dict]:
    """Find the configs of data sets inside wrappers.

    Args:
        cfg (dict or None): A data set's config. Wrappers such as
            ``RepeatDataset`` and ``ConcatDataset`` may be nested.

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
    """Find the built data sets inside wrappers.

    Args:
        dataset (Dataset): Any data set.

    Yields:
        Dataset: Each data set that reads files itself.
    """
    inner = getattr(dataset, 'datasets', None)
    if inner is None:
        inner = [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for each in inner:
            yield from innermost_datasets(each)
