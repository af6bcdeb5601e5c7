# Copyright (c) sskd_mm authors. All rights reserved.
import logging
import os.path as osp
import xml.etree.ElementTree as ET
from typing import Any, Iterator, List, Optional, Sequence

from mmengine.config import ConfigDict
from mmengine.fileio import list_from_file
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from .coco_classes import read_coco_classes
from .innermost import innermost_configs
from .refuse_classes import refuse_classes


def check_annotations(
    cfg: ConfigDict,
    built: Sequence[str] = ('train_dataloader', 'val_dataloader'),
    accept_other_classes: bool = False,
) -> None:
    """Check that annotations contain the classes that a config names.

    mmdet skips boxes of unknown classes. If all are unknown, the training set
    is empty, which fails with ``need at least one array to concatenate``. If
    some are, boxes are lost and, in COCO format, the labels of the remaining
    classes shift. Call this before data sets are built.

    Args:
        cfg (Config): A complete config. Its data sets in COCO or VOC format
            are checked; local files only.
        built (Sequence[str]): The dataloaders that this run builds. Defaults
            to those for training.
        accept_other_classes (bool): Whether to warn instead of raising.
            Defaults to False.

    Raises:
        ValueError: Names the missing classes, those in the annotations, and
            what to write.

    Example:
        >>> check_annotations(cfg)
    """
    for key in built:
        for each in innermost_configs((cfg.get(key) or {}).get('dataset')):
            dataset = _build_lazily(each)
            if dataset is None:
                continue
            check = (
                _check_coco if hasattr(dataset, 'COCOAPI') else _check_xml)
            check(dataset, key, accept_other_classes)


def check_coco_file(path: str,
                    classes: Sequence[str],
                    key: str,
                    accept_other_classes: bool = False,
                    by_name: bool = True,
                    fields: bool = False) -> None:
    """Check that a COCO-format file contains these classes.

    Args:
        path (str): A local JSON file.
        classes (Sequence[str]): The classes of ``metainfo``.
        key (str): Name of the dataloader, for messages.
        accept_other_classes (bool): As above.
        by_name (bool): Whether labels are matched by class name; in LVIS the
            file alone numbers them. Defaults to True.
        fields (bool): Whether ``bbox``, ``area`` and ``category_id`` of each
            annotation are read. Defaults to False.

    Raises:
        ValueError: As above; or a category appears twice, or annotations have
            an undefined ``category_id`` or lack a field.
    """
    found = read_coco_classes(path)
    if found is None:
        return
    if fields and found.lacking:
        raise ValueError(
            f'{key}: annotations in {path} lack {_listed(found.lacking)}, '
            f"which mmdet's CocoDataset reads. Without masks, area is the "
            'width of bbox times its height.')
    listed = _listed(found.names, 100)
    missing = [x for x in classes if x not in found.names]
    twice = [x for x in classes if found.names.count(x) > 1]
    strange = [x for x in found.used if x not in found.ids]
    if by_name and missing:
        refuse_classes(
            f'{key}: {path} has no category {_listed(missing)}, but the '
            'metainfo lists it as a class. Boxes would be dropped, and later '
            'classes would get the wrong labels. The file has: '
            f'{listed}. Set {key}.dataset.metainfo=dict(classes=(...)) to '
            'these names.', accept_other_classes)
    elif by_name and twice:
        refuse_classes(
            f'{key}: {path} has several categories {_listed(twice)}. mmdet '
            'counts each as a separate class, so labels exceed the '
            f'{len(classes)} classes of the metainfo. The file has: {listed}. '
            'Keep one category per name in the file.', accept_other_classes)
    elif len(strange) == len(found.used) and strange:
        refuse_classes(
            f'{key}: annotations in {path} have category_id '
            f'{strange[0]!r}, but its categories have the ids '
            f'{", ".join(map(repr, found.ids[:5]))}. All boxes would be '
            'dropped. Make both the same in the file: numbers, without '
            'quotes.', accept_other_classes)
    elif strange:
        print_log(
            f'{key}: annotations in {path} have category_id '
            f'{_listed(strange)}, which no category has. Their boxes are '
            'dropped.',
            logger='current',
            level=logging.WARNING)


def _build_lazily(cfg: dict) -> Optional[Any]:
    """Build a data set without loading its annotations; None if it is in
    neither of the formats checked here."""
    with DATASETS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        kind = cfg.get('type')
        kind = registry.get(kind) if isinstance(kind, str) else kind
    names = [base.__name__ for base in getattr(kind, '__mro__', ())]
    # mmdet's, and mmpretrain's multi-label data sets.
    if not (hasattr(kind, 'COCOAPI') or {'XMLDataset', 'VOC'} & set(names)):
        return None
    try:
        return DATASETS.build({**cfg, 'lazy_init': True, 'pipeline': []})
    except TypeError:
        # The user's data set takes no such argument.
        return None


def _check_coco(dataset: Any, key: str, accept: bool) -> None:
    classes = dataset.metainfo.get('classes')
    path = dataset.ann_file
    if (isinstance(classes, (list, tuple)) and '://' not in path
            and path.endswith('.json') and osp.isfile(path)):
        by_name = 'LVISV05Dataset' not in [
            base.__name__ for base in type(dataset).__mro__
        ]
        # A data set with its own parser may read fewer fields.
        reader = getattr(type(dataset), 'parse_data_info', None)
        fields = getattr(reader, '__module__', '') == 'mmdet.datasets.coco'
        check_coco_file(path, classes, key, accept, by_name, fields)


def _check_xml(dataset: Any, key: str, accept: bool) -> None:
    classes = dataset.metainfo.get('classes')
    if not isinstance(classes, (list, tuple)):
        return
    missing, others = list(classes), {}
    for path in _xml_files(dataset):
        for item in ET.parse(path).getroot().findall('object'):
            name = item.find('name').text
            if name in missing:
                missing.remove(name)
            elif name not in classes:
                others[name] = None
        if not missing:
            return
    # A rare class may have no object here.
    renamed = [
        x for x in missing if _plain(x) in {_plain(name)
                                            for name in others}
    ]
    if not others or not (renamed or len(missing) == len(classes)):
        return
    refuse_classes(
        f'{key}: no object in the XML files of {_where_xml(dataset)} is '
        f'called {_listed(renamed or missing)}, a class in the metainfo; '
        'objects with other names are dropped. The files have: '
        f'{_listed(list(others), 20)}. Set '
        f'{key}.dataset.metainfo=dict(classes=(...)) to these names.',
        accept)


def _xml_files(dataset: Any) -> Iterator[str]:
    if hasattr(dataset, 'image_set_path'):  # mmpretrain's
        images, folder = dataset.image_set_path, dataset.ann_prefix
    else:
        images = dataset.ann_file
        folder = osp.join(dataset.sub_data_root, dataset.ann_subdir)
    if folder is None or '://' in images or not osp.isfile(images):
        return
    for image in list_from_file(images):
        path = osp.join(folder, f'{image}.xml')
        if osp.isfile(path):
            yield path


def _where_xml(dataset: Any) -> str:
    return getattr(dataset, 'image_set_path', dataset.ann_file)


def _plain(name: str) -> str:
    """Normalise a name: ignore case and punctuation."""
    return ''.join(filter(str.isalnum, name.casefold()))


def _listed(names: List[Any], limit: int = 5) -> str:
    more = ', ...' if len(names) > limit else ''
    return ', '.join(map(repr, names[:limit])) + more
