# Copyright (c) sskd_mm authors. All rights reserved.
import logging
import os.path as osp
from typing import Any, Dict, Iterator, List, Sequence

from mmengine.config import ConfigDict
from mmengine.logging import print_log

from .innermost import innermost_configs


def check_data_files(
    cfg: ConfigDict,
    built: Sequence[str] = ('train_dataloader', 'val_dataloader')
) -> None:
    """Check that the files of a config's data sets exist.

    Called before anything is built, so that a missing data set is not found
    only after minutes of building a model. Missing files that this run does
    not read, such as those of ``test_dataloader`` in training, only cause a
    warning.

    Args:
        cfg (Config): A complete config. The local ``ann_file`` and image
            folders of its dataloaders and the ``ann_file`` of their
            evaluators are checked; remote storage (``s3://`` and the like) is
            not.
        built (Sequence[str]): The dataloaders that this run builds. Defaults
            to those for training.

    Raises:
        FileNotFoundError: Names every missing path, its dataloader, and what
            to do, for the test set as well.

    Example:
        >>> check_data_files(cfg)
        >>> check_data_files(cfg, built=['test_dataloader'])  # to test
    """
    missing: Dict[str, List[str]] = {}
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        paths = [path for path in _paths(cfg, key) if not osp.exists(path)]
        if paths:
            missing[key] = [
                f'  {osp.abspath(path)}' for path in dict.fromkeys(paths)
            ]
    for key in [key for key in missing if key not in built]:
        # A config for other data often inherits this one from its base.
        remedy = ('\nTo test on the validation set write test_dataloader = '
                  'val_dataloader and test_evaluator = val_evaluator.'
                  ) if key == 'test_dataloader' else ''
        print_log(
            f'{key} is not built here, and its data is not there:\n' +
            '\n'.join(missing[key]) + remedy,
            logger='current',
            level=logging.WARNING)
    needed = [key for key in missing if key in built]
    if needed:
        lines = '\n'.join(f'{key}:\n' + '\n'.join(missing[key])
                          for key in needed)
        # A trained model will be tested later.
        moved = [k for k in missing if k in built or k == 'test_dataloader']
        raise FileNotFoundError(
            f'The data of this config is not there. Looked for:\n{lines}\n'
            'Put or link the data set there, or point the config elsewhere, '
            f'e.g. --cfg-options {" ".join(_options(cfg, moved))}. A small '
            'set to try: python tools/dataset_converters/make_digits.py')


def _options(cfg: ConfigDict, keys: Sequence[str]) -> Iterator[str]:
    """List the options that change the data paths of these dataloaders."""
    for key in keys:
        yield f'{key}.dataset.data_root=PATH/'
    for evaluator in map(_evaluator, keys):
        if any('ann_file' in x for x in _metrics(cfg.get(evaluator))):
            yield f'{evaluator}.ann_file=PATH/FILE.json'


def _evaluator(key: str) -> str:
    return key.replace('dataloader', 'evaluator')


def _paths(cfg: ConfigDict, key: str) -> Iterator[str]:
    """Yield the local files and folders of a dataloader and its evaluator."""
    for dataset in innermost_configs((cfg.get(key) or {}).get('dataset')):
        root = dataset.get('data_root') or ''
        prefix = dataset.get('data_prefix') or {}
        folders = list(prefix.values()) if isinstance(prefix,
                                                      dict) else [prefix]
        for path in [dataset.get('ann_file'), *folders]:
            yield from _local(path, root)
    for metric in _metrics(cfg.get(_evaluator(key))):
        yield from _local(metric.get('ann_file'))


def _metrics(evaluator: Any) -> Iterator[dict]:
    """Yield metric configs of a single one, a list, or an evaluator of several
    data sets."""
    if isinstance(evaluator, dict):
        yield evaluator
        evaluator = evaluator.get('metrics')
    if isinstance(evaluator, (list, tuple)):
        for metric in evaluator:
            yield from _metrics(metric)


def _local(path: Any, root: str = '') -> Iterator[str]:
    if isinstance(path, str) and path:
        path = osp.join(root, osp.expanduser(path))
        if '://' not in path:
            yield path
