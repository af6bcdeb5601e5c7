# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import List

from mmengine.config import ConfigDict

from .innermost_datasets import innermost_datasets


def check_data_files(cfg: ConfigDict) -> None:
    """See that the files of a config's data sets are there.

    Called before anything is built, so that a missing data set does not show
    after minutes of building a model.

    Args:
        cfg (Config): A whole config. Its dataloaders' local ``ann_file`` and
            image folders are looked for; what lies in other storage
            (``s3://`` and the like) is not.

    Raises:
        FileNotFoundError: Names every path that is missing and what to do.
    """
    missing: List[str] = []
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(key) or {}
        for dataset in innermost_datasets(loader.get('dataset')):
            root = dataset.get('data_root') or ''
            prefix = dataset.get('data_prefix') or {}
            folders = list(prefix.values()) if isinstance(prefix,
                                                          dict) else [prefix]
            for path in [dataset.get('ann_file'), *folders]:
                if isinstance(path, str) and path:
                    path = osp.join(root, path)
                    if '://' not in path and not osp.exists(path):
                        missing.append(path)
    if missing:
        lines = '\n'.join(f'  {osp.abspath(path)}'
                          for path in dict.fromkeys(missing))
        raise FileNotFoundError(
            f'The data of this config is not there. Looked for:\n{lines}\n'
            'Put or link the data set there, or point the config elsewhere, '
            'e.g. --cfg-options train_dataloader.dataset.data_root=PATH/ '
            'val_dataloader.dataset.data_root=PATH/ '
            'val_evaluator.ann_file=PATH/FILE.json. A small set to try: '
            'python tools/dataset_converters/make_digits.py')
