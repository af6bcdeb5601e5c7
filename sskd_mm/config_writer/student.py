# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from contextlib import contextmanager
from typing import Iterator

from mmengine.config import Config

from ..distillers.teacher import read_teacher_config
from .training_length import TrainingLength


def read_student(path: str) -> Config:
    """Read the student's plain config.

    Args:
        path (str): A file, or ``'mmdet::...'`` for a config of a package.

    Returns:
        Config: A complete config with data, optimizer and training length.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is already a distillation, or incomplete.
    """
    if '::' not in path and not osp.isfile(path):
        raise FileNotFoundError(f'The student\'s config {path!r} is not there '
                                f'(looked for {osp.abspath(path)!r}).')
    with _naming_import(path):
        cfg = read_teacher_config(path)
    if 'student' in cfg.get('model', {}):
        raise ValueError(
            f'{path} is already a distillation config (model.type is '
            f'{cfg.model.type!r}). Give the plain config of the student.')
    missing = [
        key for key in ('model', 'train_dataloader', 'optim_wrapper')
        if cfg.get(key) is None
    ]
    if missing:
        raise ValueError(
            f'{path} has no {", ".join(missing)}. Give the complete training '
            'config of the student.')
    train_cfg = cfg.get('train_cfg') or {}
    if TrainingLength.of(train_cfg) is None:
        raise ValueError(
            f'{path} does not say how long it trains, which determines the '
            f'length of the phases: train_cfg is {dict(train_cfg)}. Write '
            'e.g. train_cfg=dict(by_epoch=True, max_epochs=12), or '
            'train_cfg=dict(by_epoch=False, max_iters=90000), in it or in a '
            'copy.')
    return cfg


def read_teacher(path: str) -> Config:
    """Read a teacher's config, as :func:`read_student` does a student's."""
    with _naming_import(path):
        return read_teacher_config(path)


@contextmanager
def _naming_import(path: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f'{path} imports a missing module: {error}\nRun the command in '
            "your project's folder, with PYTHONPATH=. before it.") from error
