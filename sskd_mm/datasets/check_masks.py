# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterator, Optional, Tuple

import mmcv
from mmengine.dataset import BaseDataset
from mmengine.fileio import get

from ..compat import is_a
from .check_num_classes import where
from .innermost import innermost_datasets

#: Images that are read because annotations contradict each other.
_MOST_IMAGES = 20


def check_masks(dataset: Any, key: str = 'train_dataloader') -> None:
    """See that each object has the mask that a pipeline loads, in the size of
    its image.

    mmdet's ``LoadAnnotations`` reads them image by image, so that one wrong
    annotation ends a training in the midst of an epoch. An RLE with height
    and width exchanged may even pass, and is another mask then. Annotations
    are read from memory, some 50,000 images a second; where the file's
    ``height`` and ``width`` are not the RLE's, the image decides.

    Args:
        dataset (Dataset): Of mmdet, wrappers included. Only one whose
            pipeline has ``LoadAnnotations(with_mask=True)`` is looked into.
        key (str): The dataloader, for the message. Defaults to
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
    # AnnotationsOnDemand has it in `load`.
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
                    'which LoadAnnotations(with_mask=True) reads. Add one, or '
                    'take the annotation out of the file.')
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
                f'{key}: the RLE of an object in {image}, has the size '
                f'{list(wrong)}, but the image {list(size)} (height, width). '
                'Encode the mask in the size of its image, or take the '
                'annotation out of the file.')


def _rle_sizes(info: dict) -> Iterator[Tuple[int, int]]:
    for instance in info.get('instances', ()):
        mask = instance['mask']
        # mmdet passes over one without either.
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
