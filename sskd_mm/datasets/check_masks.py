# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator, Optional, Tuple

import mmcv
from mmengine.dataset import BaseDataset
from mmengine.fileio import get

from ..compat import is_a
from .check_num_classes import where
from .innermost import innermost_datasets

#: Maximum number of images to read where annotations disagree.
_MOST_IMAGES = 20


def check_masks(dataset: Any, key: str = 'train_dataloader') -> None:
    """Check that every object has a mask of the size of its image, if the
    pipeline loads masks.

    mmdet's ``LoadAnnotations`` reads masks image by image, so one wrong
    annotation stops training in the middle of an epoch. An RLE with height
    and width swapped may even pass, as a different mask. The check reads
    annotations from memory, about 50,000 images per second; if the file's
    ``height`` and ``width`` differ from the RLE's, it reads the image.

    Args:
        dataset (Dataset): An mmdet data set, possibly wrapped. It is only
            checked if its pipeline has ``LoadAnnotations(with_mask=True)``.
        key (str): Name of the dataloader, for messages. Defaults to
            ``'train_dataloader'``.

    Raises:
        ValueError: Names the image, what is wrong and what to write.

    Example:
        >>> check_masks(runner.train_dataloader.dataset)
    """
    for each in innermost_datasets(dataset):
        if isinstance(each, BaseDataset) and _loads_masks(each):
            _check(each, key)


def _loads_masks(dataset: Any) -> bool:
    # AnnotationsOnDemand holds it as `load`.
    steps = (
        getattr(step, 'load', step)
        for step in getattr(dataset.pipeline, 'transforms', ()))
    return any(
        is_a(step, 'LoadAnnotations') and getattr(step, 'with_mask', False)
        and getattr(step, 'poly2mask', False) for step in steps)


def _check(dataset: BaseDataset, key: str) -> None:
    read = 0
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        image = f'{info.get("img_path")}, an image of {where(dataset)}'
        for instance in info.get('instances', ()):
            if 'mask' not in instance:
                raise ValueError(
                    f'{key}: an object in {image}, has no `segmentation`, '
                    'which LoadAnnotations(with_mask=True) needs. Add one, or '
                    'remove the annotation from the file.')
        size = (info.get('height'), info.get('width'))
        if None in size or read == _MOST_IMAGES:
            continue
        others = [x for x in _rle_sizes(info) if x != size]
        if not others:
            continue
        read += 1
        size = _read_size(dataset, info) or size
        wrong = next((x for x in others if x != size), None)
        if wrong is not None:
            raise ValueError(
                f'{key}: the RLE of an object in {image}, has size '
                f'{list(wrong)}, but the image {list(size)} (height, width). '
                'Encode the mask in the size of its image, or remove the '
                'annotation from the file.')


def _rle_sizes(info: dict) -> Iterator[Tuple[int, int]]:
    for instance in info.get('instances', ()):
        mask = instance['mask']
        # mmdet skips masks that lack either.
        if isinstance(mask, dict) and mask.get('counts') is not None and (
                mask.get('size') is not None):
            yield tuple(mask['size'])


def _read_size(dataset: BaseDataset,
               info: dict) -> Optional[Tuple[int, int]]:
    loader = dataset.pipeline.transforms[0]
    arguments = getattr(loader, 'backend_args', None)
    try:
        image = mmcv.imfrombytes(
            get(info['img_path'], backend_args=arguments))
    except (OSError, KeyError):
        return None
    return None if image is None else image.shape[:2]
