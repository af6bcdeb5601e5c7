# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import Any, Dict

from torch import nn

from .check_annotations import check_coco_file
from .innermost import innermost_datasets
from .refuse_classes import refuse_classes


def check_num_classes(student: nn.Module,
                      dataset: Any,
                      accept_other_classes: bool = False) -> None:
    """Check that a student's heads match the classes of its training data,
    and that a COCO-format file contains these classes.

    Called before training: mimic phases use no head, so a mismatch would only
    show hours later, if at all.

    Args:
        student (nn.Module): An mmdet detector or an mmpretrain classifier.
        dataset (Dataset): The training set. It is not checked if its
            ``metainfo`` has no ``classes``.
        accept_other_classes (bool): Whether to warn instead of raising, for
            instance if a second head has its own labels. Defaults to False.

    Raises:
        ValueError: Names every head with another number of classes, the data
            set's number and its file; or the classes missing from the file.
    """
    heads = misfit_heads(student, dataset)
    if not heads:
        for each in innermost_datasets(dataset):
            _check_names(each, accept_other_classes)
        return
    number = len(metainfo_of(dataset)['classes'])
    wrong = ''.join(f'\n  model.student.{path}.num_classes is {n}'
                    for path, n in heads.items())
    refuse_classes(
        f'The student\'s heads do not match the training data, '
        f'{where(dataset)}, which has {number} classes:{wrong}\nSet it to '
        f'{number} in the student\'s config, or name the classes of the '
        'annotations in '
        'train_dataloader.dataset.metainfo=dict(classes=(...)); currently '
        f'they are {_shorten(dataset)}.',
        accept_other_classes)


def misfit_heads(model: nn.Module, dataset: Any) -> Dict[str, int]:
    """Find the heads whose number of classes differs from a data set's.

    Args:
        model (nn.Module): A detector or classifier.
        dataset (Dataset): Any data set.

    Returns:
        dict[str, int]: The number of classes by path of the head; empty if
        all match or the data set names no classes.

    Raises:
        ValueError: The data set's ``classes`` is a single string.
    """
    metainfo = metainfo_of(dataset)
    classes = metainfo.get('classes')
    if classes is None:
        return {}
    if isinstance(classes, str):
        raise ValueError(
            f'The metainfo of {where(dataset)} has classes={classes!r}, a '
            f'string. Use a tuple, classes=({classes!r}, ) for one class.')
    # In panoptic data the box heads only have the thing classes.
    numbers = {len(classes), len(metainfo.get('thing_classes', classes))}
    return {
        path: number
        for path, number in head_classes(model).items()
        if number not in numbers
    }


def head_classes(model: nn.Module) -> Dict[str, int]:
    """Get the number of classes of each head of a model.

    Not counted are an RPN, which has one class for any data, a head for
    semantic segmentation, which has other classes, and a network that takes
    its classes as text. Other modules with ``num_classes``, such as a
    backbone with its own classifier, are not heads.

    Args:
        model (nn.Module): A detector or classifier.

    Returns:
        dict[str, int]: The numbers by path, e.g.
        ``{'roi_head.bbox_head': 80}``.
    """
    if hasattr(model, 'language_model'):
        return {}
    heads = {}
    for path, module in model.named_modules():
        number = getattr(module, 'num_classes', None)
        others = {'rpn_head', 'semantic_head'} & set(path.split('.'))
        # A detector that is just an RPN calls its head bbox_head.
        others = others or 'RPN' in type(module).__name__
        if (isinstance(number, int) and number > 0 and 'head' in path
                and not others):
            heads[path] = number
    return heads


def metainfo_of(dataset: Any) -> dict:
    """Get the metainfo of a data set: inside wrappers the innermost, of
    several data sets the first. (mmdet's ``ConcatDataset`` of different data
    sets has a list.)"""
    return getattr(next(innermost_datasets(dataset)), 'metainfo', None) or {}


def where(dataset: Any) -> str:
    """Name a data set by its annotations: inside wrappers the innermost, of
    several data sets the first."""
    dataset = next(innermost_datasets(dataset))
    folders = getattr(dataset, 'data_prefix', None)
    folder = folders.get('img_path') if isinstance(folders, dict) else folders
    path = getattr(dataset, 'ann_file', '') or folder or getattr(
        dataset, 'data_root', '')
    name = type(dataset).__name__
    return f'{name} of {path}' if path else name


def _check_names(dataset: Any, accept: bool) -> None:
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    # Only for data sets built by the caller; others were checked before.
    known, path = (getattr(dataset, 'cat_ids', classes),
                   getattr(dataset, 'ann_file', ''))
    if classes and len(known) != len(classes) and osp.isfile(path):
        check_coco_file(path, classes, 'train_dataloader', accept)


def _shorten(dataset: Any) -> str:
    names = list(metainfo_of(dataset)['classes'])
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
