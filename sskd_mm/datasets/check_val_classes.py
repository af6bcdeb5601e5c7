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
    """What the labels of a data set stand for, in their order.

    Attributes:
        place (str): Where it comes from, for messages.
        classes (tuple[str], optional): Of the data set's ``metainfo``.
        folders (tuple[str], optional): Those that number its images.
        categories (tuple[str], optional): Those of its file in COCO's
            format, which number its boxes: in the file's order, whatever
            ``classes`` says.
    """
    place: str
    classes: Optional[Names] = None
    folders: Optional[Names] = None
    categories: Optional[Names] = None

    def difference(self, other: 'LabelNames') -> Optional[Tuple[Names, Names]]:
        """The names on both sides, where one label stands for two things."""
        ours, theirs = self._comparable(other), other._comparable(self)
        if ours is None or theirs is None or ours == theirs:
            return None
        return ours, theirs

    def _comparable(self, other: 'LabelNames') -> Optional[Names]:
        # Folders may be called otherwise than classes: n01440764 is 'tench'.
        if self.folders is not None and other.folders is not None:
            return self.folders
        return self.classes if self.categories is None else self.categories


def check_val_classes(train: Any,
                      val: Any,
                      metrics: Sequence[Any] = (),
                      accept_other_classes: bool = False) -> None:
    """See that a label stands for the same class in training and validation.

    Data sets number classes by themselves: folders in alphabetical order,
    COCO's format in that of the file. So a folder that was renamed or is
    missing, or a file that was written by another tool, makes a good network
    score badly, with no error.

    Args:
        train (Dataset): The training set, wrappers included. Where it joins
            several sets, all are compared.
        val (Dataset): The validation set, likewise.
        metrics (Sequence[BaseMetric]): Of its evaluator. A COCO file of its
            own is compared, too. Where all compare embeddings, the people or
            classes of validation are others by design, and are not looked at.
        accept_other_classes (bool): Whether to warn instead of refusing.
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
    """Whether any of these metrics looks at classes.

    Args:
        metrics (Sequence[BaseMetric]): Of an evaluator.

    Returns:
        bool: False where all compare embeddings, as those of faces and of
        retrieval do.
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
    """Names of a COCO file in the order of their labels."""
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
    """What labels stand for in a COCO file that a metric has of its own."""
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
            f'{names.place} numbers its classes {_listed(numbered)}, whatever '
            f'the order of its metainfo, {_listed(names.classes)}. Figures '
            'are right, but pictures and per-class names are not: write '
            'train_dataloader.dataset.metainfo=dict(classes=(...)), and '
            "val_dataloader's, in that order.",
            logger='current',
            level=logging.WARNING)


def _describe(first: LabelNames, other: LabelNames, ours: Names,
              theirs: Names) -> str:
    place = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
                 min(len(ours), len(theirs)))
    one, two = (repr(names[place]) if place < len(names) else 'nothing'
                for names in (ours, theirs))
    lines = [
        'A label does not stand for the same class everywhere, so what is '
        'learned as one would be scored as another:',
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
        remedy = ('Give val_evaluator the ann_file of val_dataloader, or '
                  'write the categories of both in one order.')
    elif first.folders is not None and other.folders is not None:
        remedy = ('Call the folders alike; an empty one will do for a class '
                  'without images.')
    elif set(ours) == set(theirs):
        remedy = (f'Write the classes of both in one order: in '
                  f'{key}.dataset.metainfo=dict(classes=(...)), of COCO\'s '
                  'format in the file\'s categories.')
    else:
        remedy = (f'Write {key}.dataset.metainfo=dict(classes=(...)) as '
                  'train_dataloader has it, and call the classes alike in '
                  'the annotations.')
    return '\n'.join([*lines, remedy])


def _listed(names: Sequence[str]) -> str:
    more = f', ... ({len(names)})' if len(names) > 8 else ''
    return ', '.join(map(repr, names[:8])) + more if names else 'none'
