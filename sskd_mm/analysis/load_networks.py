# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import logging
from typing import Dict, List, Optional

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, load_checkpoint
from torch import nn
from torch.utils.data import DataLoader

from ..compat import allow_pickle
from ..datasets import check_data_files
from ..models import build_model
from .quiet import quiet


def build_test_loader(cfg: Config, batch_size: int = 1) -> DataLoader:
    """Load the test set of a config in order, in this process.

    Args:
        cfg (Config): A complete config. Without a test set, the validation
            set is used.
        batch_size (int): Batch size. Defaults to 1.

    Returns:
        DataLoader: Yields batches for a model's data preprocessor.

    Raises:
        FileNotFoundError: Its files do not exist.
        ValueError: The config has neither set.
    """
    key = 'test_dataloader' if cfg.get(
        'test_dataloader') else 'val_dataloader'
    check_data_files(cfg, built=[key])
    loader = copy.deepcopy(cfg.get(key))
    if loader is None:
        raise ValueError(f'{cfg.filename} has no test_dataloader and no '
                         'val_dataloader, so there are no images.')
    loader.update(
        batch_size=batch_size,
        num_workers=0,
        persistent_workers=False,
        sampler=dict(type='DefaultSampler', shuffle=False))
    with quiet(), DefaultScope.overwrite_default_scope(
            cfg.get('default_scope')):
        return Runner.build_dataloader(loader, seed=0)


def load_distiller(cfg: Config, loader: DataLoader,
                   checkpoint: Optional[str]) -> nn.Module:
    """Load a student and its teacher for comparison.

    Args:
        cfg (Config): A distillation config.
        loader (DataLoader): Its first batch determines the taps' shapes.
        checkpoint (str, optional): The student's weights. Without them, they
            are random.

    Returns:
        StageByStageDistiller: The prepared distiller in eval mode.

    Raises:
        ValueError: The config is not a distillation.

    Example:
        >>> loader = build_test_loader(cfg)
        >>> distiller = load_distiller(cfg, loader, 'epoch_12.pth')
        >>> distiller.compare(inputs, list(distiller.stages))
    """
    if 'student' not in cfg.model:
        raise ValueError(
            f'{cfg.filename} has model.type={cfg.model.get("type")!r}, which '
            'has no student and teacher. Give a distillation config, such as '
            'those in configs/sskd.')
    model = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    allow_pickle(cfg.get('allow_pickle', []))
    with quiet(), DefaultScope.overwrite_default_scope(
            cfg.get('default_scope')):
        distiller = MODELS.build(model)
        _load(distiller, checkpoint)
        distiller.prepare(next(iter(loader)))
    return distiller.eval()


def load_networks(cfg: Config, loader: DataLoader,
                  checkpoint: Optional[str]) -> Dict[str, nn.Module]:
    """Load the networks of a config by role.

    Args:
        cfg (Config): A distillation or plain training config.
        loader (DataLoader): See :func:`load_distiller`.
        checkpoint (str, optional): Weights of the student or plain model.

    Returns:
        dict[str, nn.Module]: ``teacher`` (if several, ``teacher 1`` ...) and
        ``student``; for a plain config only ``model``. In eval mode.
    """
    if 'student' not in cfg.model:
        allow_pickle(cfg.get('allow_pickle', []))
        model = build_model(cfg)
        _load(model, checkpoint)
        return dict(model=model.eval())
    distiller = load_distiller(cfg, loader, checkpoint)
    teachers = [teacher.model for teacher in distiller.teachers]
    return dict(
        zip(name_teachers(len(teachers)), teachers), student=distiller.student)


def name_teachers(number: int) -> List[str]:
    """Name teachers: ``teacher``, or ``teacher 1`` ... if several."""
    if number == 1:
        return ['teacher']
    return [f'teacher {i}' for i in range(1, number + 1)]


def _load(model: nn.Module, checkpoint: Optional[str]) -> None:
    if checkpoint is not None:
        with quiet():
            load_checkpoint(model, checkpoint, 'cpu', strict=True)
        return
    print_log(
        'No checkpoint was given, so the weights are random.',
        logger='current',
        level=logging.WARNING)
