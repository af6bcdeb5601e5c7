# Copyright (c) sskd_mm authors. All rights reserved.
import logging
import os.path as osp
from typing import Any, Dict, Optional, Sequence

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from ..compat import is_a
from .check_num_classes import where
from .innermost import innermost_datasets

_REMEDY = 'Give val_evaluator the ann_file of val_dataloader.'


def check_val_images(val: Any, metrics: Sequence[Any]) -> None:
    """Check that an evaluator's COCO file lists the validation images.

    If an image is missing from its file, ``CocoMetric`` fails with ``Results
    do not correspond to current coco set`` as soon as something is detected
    in it. If its id belongs to another image, metrics are silently wrong.

    Args:
        val (Dataset): The validation set, possibly wrapped.
        metrics (Sequence[BaseMetric]): The evaluator's metrics. Those with a
            COCO file of their own are checked.

    Raises:
        ValueError: Names the image, both sides, and what to write. Images
            that only the evaluator has only cause a warning: their objects
            count as missed.

    Example:
        >>> check_val_images(runner.val_dataloader.dataset,
        ...                  runner.val_evaluator.metrics)
    """
    ours: Optional[Dict[Any, str]] = None
    for metric in metrics:
        api = getattr(metric, '_coco_api', None)
        if api is None or not is_a(metric, 'CocoMetric'):
            continue
        ours = _images(val) if ours is None else ours
        if ours:
            _compare(ours, api.imgs, val, type(metric).__name__)


def _images(val: Any) -> Dict[Any, str]:
    """Map image ids to paths; empty if ids are unknown."""
    images: Dict[Any, str] = {}
    for each in innermost_datasets(val):
        if not isinstance(each, BaseDataset):
            return {}
        for index in range(len(each)):
            info = each.get_data_info(index)
            if 'img_id' not in info:
                return {}
            images[info['img_id']] = info.get('img_path', '')
    return images


def _compare(ours: Dict[Any, str], theirs: Dict[Any, dict], val: Any,
             name: str) -> None:
    place = f'val_evaluator: ann_file of {name}'
    for key, path in ours.items():
        if key not in theirs:
            known = next(iter(theirs), 'none')
            raise ValueError(
                f'{place} has no image with id {key!r}, which is {path} in '
                f'val_dataloader ({where(val)}); its first id is {known!r}. '
                f'{_REMEDY}')
        file = theirs[key].get('file_name', path)
        # The same image may be a .jpg in one and a .png in the other.
        if path and _stem(file) != _stem(path):
            raise ValueError(
                f'{place} has the image {file} under id {key!r}, which is '
                f'{path} in val_dataloader ({where(val)}). Boxes of one '
                f'would be scored against those of the other. {_REMEDY}')
    more = len(theirs) - len(ours)
    if more:
        print_log(
            f'{place} lists {more} images that are not in val_dataloader. '
            'Their objects count as missed, so metrics are too low. '
            f'{_REMEDY}',
            logger='current',
            level=logging.WARNING)


def _stem(path: str) -> str:
    return osp.splitext(osp.basename(path))[0]
