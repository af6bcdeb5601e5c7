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
    """The test set of a config, in its order, loaded by this process.

    Args:
        cfg (Config): A whole config. One without a test set has its
            validation set taken.
        batch_size (int): Images of a batch. Defaults to 1.

    Returns:
        DataLoader: Its batches are for a model's data preprocessor.

    Raises:
        FileNotFoundError: Its files are not there.
        ValueError: The config has neither.
    """
    key = 'test_dataloader' if cfg.get(
        'test_dataloader') else 'val_dataloader'
    check_data_files(cfg, built=[key])
    loader = copy.deepcopy(cfg.get(key))
    if loader is None:
        raise ValueError(f'{cfg.filename} has no test_dataloader and no '
                         'val_dataloader, so no images to look at.')
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
    """A student and its teacher, ready to be compared.

    Args:
        cfg (Config): Of a distillation.
        loader (DataLoader): Its first batch tells the taps' shapes.
        checkpoint (str, optional): The student's weights. Without, they are
            as torch begins them.

    Returns:
        StageByStageDistiller: In eval mode, prepared.

    Raises:
        ValueError: The config is no distillation.

    Example:
        >>> loader = build_test_loader(cfg)
        >>> distiller = load_distiller(cfg, loader, 'epoch_12.pth')
        >>> distiller.compare(inputs, list(distiller.stages))
    """
    if 'student' not in cfg.model:
        raise ValueError(
            f'{cfg.filename} has model.type={cfg.model.get("type")!r}, which '
            'has no student and teacher. Give the config of a distillation, '
            'such as those in configs/sskd.')
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
    """The networks of a config by their roles.

    Args:
        cfg (Config): Of a distillation or of a plain training.
        loader (DataLoader): As of :func:`load_distiller`.
        checkpoint (str, optional): The student's, or the plain model's.

    Returns:
        dict[str, nn.Module]: ``teacher`` (of several ``teacher 1`` ...) and
        ``student``; of a plain config ``model`` alone. In eval mode.
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
    """What so many teachers are called: ``teacher``, or ``teacher 1`` ..."""
    if number == 1:
        return ['teacher']
    return [f'teacher {i}' for i in range(1, number + 1)]


def _load(model: nn.Module, checkpoint: Optional[str]) -> None:
    if checkpoint is not None:
        with quiet():
            load_checkpoint(model, checkpoint, 'cpu', strict=True)
        return
    print_log(
        'No checkpoint was given, so the weights mean nothing.',
        logger='current',
        level=logging.WARNING)
