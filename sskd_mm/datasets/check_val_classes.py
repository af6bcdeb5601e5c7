# Copyright (c) sskd_mm authors. All rights reserved.
import logging
import os.path as osp
from typing import Any, Iterator, NamedTuple, Optional, Sequence, Tuple

from mmengine.logging import print_log

from ..compat import is_a
from .check_num_classes import where
from .coco_classes import read_coco_classes
from .innermost import innermost_datasets
from .refuse_classes import refuse_classes

Names = Tuple[str, ...]


class LabelNames(NamedTuple):
    """The names that a data set's labels stand for, in order.

    Attributes:
        place (str): Where they come from, for messages.
        classes (tuple[str], optional): The classes of ``metainfo``.
        folders (tuple[str], optional): The folders that number its images.
        categories (tuple[str], optional): The categories of its COCO-format
            file, which number its boxes: in the order of the file, whatever
            ``classes`` says.
    """
    place: str
    classes: Optional[Names] = None
    folders: Optional[Names] = None
    categories: Optional[Names] = None

    def difference(self, other: 'LabelNames') -> Optional[Tuple[Names, Names]]:
        """Get the names on both sides if a label means different things."""
        ours, theirs = self._comparable(other), other._comparable(self)
        if ours is None or theirs is None or ours == theirs:
            return None
        return ours, theirs

    def _comparable(self, other: 'LabelNames') -> Optional[Names]:
        # Folders and classes may have different names: n01440764 is 'tench'.
        if self.folders is not None and other.folders is not None:
            return self.folders
        return self.classes if self.categories is None else self.categories


def check_val_classes(train: Any,
                      val: Any,
                      metrics: Sequence[Any] = (),
                      accept_other_classes: bool = False) -> None:
    """Check that labels mean the same classes in training and validation.

    Each data set numbers its classes itself: folders alphabetically, COCO
    format in the order of the file. A renamed or missing folder, or a file
    from another tool, silently makes a good network score badly.

    Args:
        train (Dataset): The training set, possibly wrapped. If it
            concatenates several sets, all are compared.
        val (Dataset): The validation set, likewise.
        metrics (Sequence[BaseMetric]): The evaluator's metrics. If one has a
            COCO file of its own, that is compared, too. If all compare
            embeddings, nothing is checked: validation has other people or
            classes by design.
        accept_other_classes (bool): Whether to warn instead of raising.
            Defaults to False.

    Raises:
        ValueError: Names both data sets, their classes, the first that
            differs, and what to write.

    Example:
        >>> check_val_classes(runner.train_dataloader.dataset,
        ...                   runner.val_dataloader.dataset,
        ...                   runner.val_evaluator.metrics)
    """
    first, *others = _names(train, 'train_dataloader')
    if reads_classes(metrics):
        held = list(_names(val, 'val_dataloader'))
        others += held + list(_metric_names(metrics, held[0]))
    _warn_of_renamed(first)
    for each in others:
        difference = first.difference(each)
        if difference is not None:
            refuse_classes(
                _describe(first, each, *difference), accept_other_classes)


def reads_classes(metrics: Sequence[Any]) -> bool:
    """Tell whether any of these metrics uses classes.

    Args:
        metrics (Sequence[BaseMetric]): An evaluator's metrics.

    Returns:
        bool: False if all compare embeddings, like metrics for faces and
        retrieval.
    """
    blind = ('FaceMetric', 'RetrievalRecall', 'RetrievalAveragePrecision')
    return not metrics or not all(
        any(is_a(metric, name) for name in blind) for metric in metrics)


def _names(dataset: Any, key: str) -> Iterator[LabelNames]:
    for each in innermost_datasets(dataset):
        metainfo = getattr(each, 'metainfo', None) or {}
        yield LabelNames(
            f'{key}: {where(each)}', _tuple(metainfo.get('classes')),
            _tuple(getattr(each, 'folder_to_idx', None)), _categories(each))


def _categories(dataset: Any) -> Optional[Names]:
    """Get the category names of a COCO file in label order."""
    ids = getattr(dataset, 'cat_ids', None)
    path = getattr(dataset, 'ann_file', None)
    if not (isinstance(ids, (list, tuple)) and isinstance(path, str)
            and path.endswith('.json') and osp.isfile(path)):
        return None
    found = read_coco_classes(path)
    if found is None or not set(ids) <= set(found.ids):
        return None
    names = dict(zip(found.ids, found.names))
    return tuple(names[i] for i in ids)


def _metric_names(metrics: Sequence[Any],
                  val: LabelNames) -> Iterator[LabelNames]:
    """Yield the names in COCO files that metrics have of their own."""
    for metric in metrics:
        api = getattr(metric, '_coco_api', None)
        if api is None or val.classes is None:
            continue
        ids = api.getCatIds(catNms=list(val.classes))
        yield LabelNames(
            f'val_evaluator: ann_file of {type(metric).__name__}',
            val.classes,
            categories=tuple(x['name'] for x in api.loadCats(ids)))


def _tuple(names: Any) -> Optional[Names]:
    return None if names is None else tuple(map(str, names))


def _warn_of_renamed(names: LabelNames) -> None:
    numbered = names.folders or names.categories
    if (numbered and names.classes and numbered != names.classes
            and set(numbered) == set(names.classes)):
        print_log(
            f'{names.place} numbers its classes {_listed(numbered)}, '
            f'regardless of its metainfo, {_listed(names.classes)}. Metrics '
            'are right, but class names in pictures and per-class results '
            'are not: put metainfo=dict(classes=(...)) of '
            'train_dataloader.dataset and val_dataloader.dataset in the '
            'first order.',
            logger='current',
            level=logging.WARNING)


def _describe(first: LabelNames, other: LabelNames, ours: Names,
              theirs: Names) -> str:
    place = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
                 min(len(ours), len(theirs)))
    one, two = (repr(names[place]) if place < len(names) else 'nothing'
                for names in (ours, theirs))
    lines = [
        'Labels mean different classes in training and validation, so metrics '
        'would be wrong:',
        f'  {first.place} has {_listed(ours)}',
        f'  {other.place} has {_listed(theirs)}',
        f'  Label {place} is {one} in the first and {two} in the second.'
    ]
    for what, names in (('first', sorted(set(ours) - set(theirs))),
                        ('second', sorted(set(theirs) - set(ours)))):
        if names:
            lines.append(f'  Only in the {what}: {_listed(names)}.')
    key = other.place.partition(':')[0]
    if key == 'val_evaluator':
        remedy = ('Give val_evaluator the ann_file of val_dataloader, or put '
                  'the categories of both in the same order.')
    elif first.folders is not None and other.folders is not None:
        remedy = ('Use the same folder names; a class without images needs '
                  'an empty folder.')
    elif set(ours) == set(theirs):
        remedy = (f'Put the classes of both in the same order: in '
                  f'{key}.dataset.metainfo=dict(classes=(...)), or for COCO '
                  'format in the categories of the file.')
    else:
        remedy = (f'Set {key}.dataset.metainfo=dict(classes=(...)) to that '
                  'of train_dataloader, and use the same class names in the '
                  'annotations.')
    return '\n'.join([*lines, remedy])


def _listed(names: Sequence[str]) -> str:
    more = f', ... ({len(names)})' if len(names) > 8 else ''
    return ', '.join(map(repr, names[:8])) + more if names else 'none'
