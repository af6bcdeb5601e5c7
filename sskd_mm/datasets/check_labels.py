# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, Optional

import numpy as np

from .check_num_classes import where
from .innermost import innermost_datasets
from .refuse_classes import refuse_classes


def check_labels(dataset: Any,
                 key: str,
                 accept_other_classes: Optional[bool] = False,
                 heads: Dict[str, int] = {}) -> None:
    """Check that a classifier's labels are valid class indices.

    Labels that start at 1, or use -1 for "unknown", fail in the first phase
    that trains a head: with ``Target 10 is out of bounds`` or, on a GPU, with
    an assertion that names nothing. A list of images and numbers, as
    ``CustomDataset`` reads for faces, names no classes, so its labels are
    compared with the heads.

    Args:
        dataset (Dataset): Any data set, possibly wrapped. It is skipped if it
            loads images together with labels.
        key (str): Name of the dataloader, for messages.
        accept_other_classes (bool, optional): Whether to warn instead of
            raising, for a loss that ignores such labels; None if training has
            no such key. Defaults to False.
        heads (dict[str, int]): Number of classes of each head by path, for
            data sets that do not name theirs. Defaults to none.

    Raises:
        ValueError: Names the first image with an invalid label, or each head
            with too few classes.

    Example:
        >>> check_labels(dataset, 'train_dataloader')
        >>> check_labels(dataset, 'train_dataloader', heads=dict(head=20))
    """
    for each in innermost_datasets(dataset):
        metainfo = getattr(each, 'metainfo', None)
        classes = metainfo.get('classes') if isinstance(metainfo,
                                                        dict) else None
        known = isinstance(classes, (list, tuple))
        if (not (known or heads) or not len(each)
                or not hasattr(each, 'get_data_info')):
            continue
        first = each.get_data_info(0)
        # Data sets that load images with labels (FaceRecords) are too slow.
        if 'img' in first or not _is_label(first.get('gt_label')):
            continue
        if known:
            _check_classes(each, key, len(classes), accept_other_classes)
        else:
            _check_heads(each, key, heads, accept_other_classes)


def _check_classes(dataset: Any, key: str, number: int,
                   accept: Optional[bool]) -> None:
    for info in map(dataset.get_data_info, range(len(dataset))):
        labels = np.atleast_1d(info['gt_label'])
        if not labels.size or (0 <= labels.min() and labels.max() < number):
            continue
        refuse_classes(
            f'{key}: {where(dataset)} has the label {info["gt_label"]} for '
            f'{info.get("img_path", "an image")}, but the labels of '
            f'{number} classes go from 0 to {number - 1}. Number the classes '
            'from 0 in its list, and remove images without a class.',
            accept)
        break


def _check_heads(dataset: Any, key: str, heads: Dict[str, int],
                 accept: Optional[bool]) -> None:
    infos = map(dataset.get_data_info, range(len(dataset)))
    last = int(max(np.max(info['gt_label'], initial=-1) for info in infos))
    small = {path: n for path, n in heads.items() if n <= last}
    if small:
        wrong = ', '.join(f'{path}.num_classes is {n}'
                          for path, n in small.items())
        refuse_classes(
            f'{key}: {where(dataset)} has labels up to {last}, which makes '
            f'{last + 1} classes, but {wrong}. Set it to {last + 1}, in the '
            "teacher's config, too, if the student starts from its head.",
            accept)


def _is_label(label: Any) -> bool:
    return (label is not None and not isinstance(label, dict)
            and np.asarray(label).dtype.kind in 'iu')
