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
    """See that a classifier's labels are numbers of its classes.

    A list of images whose labels begin with 1, or have -1 for "unknown", ends
    in ``Target 10 is out of bounds`` in the first phase that trains a head,
    on a GPU in a failed assertion that names nothing. A list of images and
    numbers, as ``CustomDataset`` reads for faces, names no classes: its
    labels are held against the heads.

    Args:
        dataset (Dataset): Any, wrappers included. One that loads images
            along with their labels is passed over.
        key (str): Its dataloader, for the message.
        accept_other_classes (bool, optional): Whether to warn instead of
            refusing, for a loss that ignores such labels; None in a training
            that has no such key. Defaults to False.
        heads (dict[str, int]): How many classes each head has by its path,
            for data sets that do not tell theirs. Defaults to none.

    Raises:
        ValueError: Names the first image whose label is no class, or each
            head that has too few.

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
        # Whoever reads images along with labels (FaceRecords) would read all.
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
            'from 0 in its list, and leave out images that are of none.',
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
