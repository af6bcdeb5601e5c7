# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any

from mmengine.registry import DATASETS


def build_dataset(cfg: dict, key: str = 'train_dataloader') -> Any:
    """Build a data set and make sure that it is not empty.

    Args:
        cfg (dict): Config of the data set.
        key (str): Name of the dataloader, for messages. Defaults to
            ``'train_dataloader'``.

    Returns:
        Dataset: The data set, its annotations loaded.

    Raises:
        ValueError: The annotations list no image, or all are filtered out.

    Example:
        >>> dataset = build_dataset(cfg.train_dataloader.dataset)
    """
    cause = None
    try:
        dataset = DATASETS.build(cfg)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        if len(dataset):
            return dataset
    except ValueError as error:
        # MMEngine's error for an empty list of images.
        if 'need at least one array to concatenate' not in str(error):
            raise
        cause = error
    raise ValueError(
        f'{key}.dataset has no image: its annotations list none, or '
        'filter_cfg drops all. filter_empty_gt=True drops images without a '
        'box of a known class, min_size drops small ones. Check ann_file and '
        'the classes in metainfo.') from cause
