# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any

from mmengine.registry import DATASETS


def build_dataset(cfg: dict, key: str = 'train_dataloader') -> Any:
    """Build a data set, and say so where nothing is left in it.

    Args:
        cfg (dict): Its config.
        key (str): The dataloader, for the message. Defaults to
            ``'train_dataloader'``.

    Returns:
        Dataset: With its annotations read.

    Raises:
        ValueError: Its annotations list no image, or all are filtered out.

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
        # What MMEngine says of an empty list of images.
        if 'need at least one array to concatenate' not in str(error):
            raise
        cause = error
    raise ValueError(
        f'{key}.dataset has no image: its annotations list none, or '
        'filter_cfg leaves out all. filter_empty_gt=True does so with images '
        'without a box of a known class, min_size with small ones. Look at '
        'ann_file, and at the classes in metainfo.') from cause
