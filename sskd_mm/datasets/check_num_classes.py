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
    """See that a student's heads have the classes of its training data, and
    that a file in COCO's format has them, too.

    Called before training, in the mimic phases of which no head takes part:
    the mismatch would show hours later, if at all.

    Args:
        student (nn.Module): A detector of mmdet or a classifier of mmpretrain.
        dataset (Dataset): The training set. One whose ``metainfo`` has no
            ``classes`` is not checked.
        accept_other_classes (bool): Whether to warn instead of refusing, as
            where a second head is for other labels. Defaults to False.

    Raises:
        ValueError: Names every head of another number, the data set's number
            and its file; or the classes that the file does not know.
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
        f'The student\'s heads do not have the classes of the training data, '
        f'{where(dataset)}, which has {number}:{wrong}\nSet it to {number} in '
        'the student\'s config, or say in '
        'train_dataloader.dataset.metainfo=dict(classes=(...)) which classes '
        f'the annotations have; now they are {_shorten(dataset)}.',
        accept_other_classes)


def misfit_heads(model: nn.Module, dataset: Any) -> Dict[str, int]:
    """The heads whose number of classes is not that of a data set.

    Args:
        model (nn.Module): A detector or classifier.
        dataset (Dataset): Any.

    Returns:
        dict[str, int]: The number of each by its path; empty where all fit,
        or where the data set does not tell its classes.

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
            f'string. Write a tuple, classes=({classes!r}, ) for one class.')
    # Of a panoptic set, the heads for boxes know its things alone.
    numbers = {len(classes), len(metainfo.get('thing_classes', classes))}
    return {
        path: number
        for path, number in head_classes(model).items()
        if number not in numbers
    }


def head_classes(model: nn.Module) -> Dict[str, int]:
    """How many classes each head of a model has, by its path.

    An RPN, which has one for any data, a head for semantic segmentation,
    whose classes are others, and a network that is told its classes in words
    do not count. What else has ``num_classes``, such as a backbone with a
    classifier of its own, is no head.

    Args:
        model (nn.Module): A detector or classifier.

    Returns:
        dict[str, int]: E.g. ``{'roi_head.bbox_head': 80}``.
    """
    if hasattr(model, 'language_model'):
        return {}
    heads = {}
    for path, module in model.named_modules():
        number = getattr(module, 'num_classes', None)
        others = {'rpn_head', 'semantic_head'} & set(path.split('.'))
        # A detector that is an RPN and no more calls it bbox_head.
        others = others or 'RPN' in type(module).__name__
        if (isinstance(number, int) and number > 0 and 'head' in path
                and not others):
            heads[path] = number
    return heads


def metainfo_of(dataset: Any) -> dict:
    """What a data set tells of itself. Of wrappers the innermost counts, of
    several data sets the first: mmdet's ``ConcatDataset`` of unlike ones
    has a list."""
    return getattr(next(innermost_datasets(dataset)), 'metainfo', None) or {}


def where(dataset: Any) -> str:
    """Name a data set by its annotations. Of wrappers the innermost counts, of
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
    # A data set that the caller has built; others were looked into before.
    known, path = (getattr(dataset, 'cat_ids', classes),
                   getattr(dataset, 'ann_file', ''))
    if classes and len(known) != len(classes) and osp.isfile(path):
        check_coco_file(path, classes, 'train_dataloader', accept)


def _shorten(dataset: Any) -> str:
    names = list(metainfo_of(dataset)['classes'])
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
