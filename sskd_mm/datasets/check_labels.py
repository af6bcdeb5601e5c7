# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any

import numpy as np

from .check_num_classes import where
from .innermost import innermost_datasets
from .refuse_classes import refuse_classes


def check_labels(dataset: Any,
                 key: str,
                 accept_other_classes: bool = False) -> None:
    """See that a classifier's labels are numbers of its classes.

    A list of images whose labels begin with 1, or have -1 for "unknown", ends
    in ``Target 10 is out of bounds`` in the first phase that trains a head,
    on a GPU in a failed assertion that names nothing.

    Args:
        dataset (Dataset): Any, wrappers included. One that loads images
            along with their labels is passed over.
        key (str): Its dataloader, for the message.
        accept_other_classes (bool): Whether to warn instead of refusing, for
            a loss that ignores such labels. Defaults to False.

    Raises:
        ValueError: Names the first image whose label is no class.

    Example:
        >>> check_labels(dataset, 'train_dataloader')
    """
    for each in innermost_datasets(dataset):
        metainfo = getattr(each, 'metainfo', None)
        classes = metainfo.get('classes') if isinstance(metainfo,
                                                        dict) else None
        if (not isinstance(classes, (list, tuple)) or not len(each)
                or not hasattr(each, 'get_data_info')):
            continue
        first = each.get_data_info(0)
        # Whoever reads images along with labels (FaceRecords) would read all.
        if 'img' in first or not _is_label(first.get('gt_label')):
            continue
        for info in map(each.get_data_info, range(len(each))):
            labels = np.atleast_1d(info['gt_label'])
            if not labels.size or (0 <= labels.min()
                                   and labels.max() < len(classes)):
                continue
            refuse_classes(
                f'{key}: {where(each)} has the label {info["gt_label"]} for '
                f'{info.get("img_path", "an image")}, but the labels of '
                f'{len(classes)} classes go from 0 to {len(classes) - 1}. '
                'Number the classes from 0 in its list, and leave out images '
                'that are of none.', accept_other_classes)
            break


def _is_label(label: Any) -> bool:
    return (label is not None and not isinstance(label, dict)
            and np.asarray(label).dtype.kind in 'iu')
