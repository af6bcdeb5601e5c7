# Copyright (c) sskd_mm authors. All rights reserved.
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope
from torch import nn

from ..compat import is_a
from ..compat.config_scope import find_shipped_config
from ..distillers.spread_blocks import spread_blocks
from ..models import EmbeddingHead
from .pair_stages import both_have, pair_stages
from .training_length import TrainingLength

#: Images up to this size use the recipe for CIFAR.
SMALL_IMAGE = 64
#: A student with at most this share of its teacher's blocks is far from it.
FAR = 1 / 5


@dataclass
class Recipe:
    """The distillation recipe for a kind of student.

    Attributes:
        kind (str): ``'detectors'``, ``'classifiers'`` or ``'faces'``.
        file (str): The shipped config that it was read from.
        model (dict): ``model`` without the networks.
        train_cfg (dict): The phases, as long together as the student's own
            training.
        length (int): That length, as phases add up to it.
    """

    kind: str
    file: str
    model: Dict[str, Any]
    train_cfg: Dict[str, Any]
    length: int = 0


def choose_recipe(cfg: Config,
                  student: nn.Module,
                  teacher: nn.Module,
                  inherit: Sequence[str] = (),
                  dataset: Any = None) -> Recipe:
    """Choose the shipped recipe for a pair of networks and fit it to them.

    All its numbers are read from ``configs/_base_/sskd_*.py``.

    Args:
        cfg (Config): The student's complete config.
        student (nn.Module): The student built from it.
        teacher (nn.Module): The teacher.
        inherit (Sequence[str]): Parts after the backbone that start from the
            teacher's, see :func:`find_inheritable`. Defaults to none.
        dataset (Dataset, optional): The student's training set, for the size
            of its images. Defaults to none.

    Returns:
        Recipe: As long as the student's own training, in epochs or
        iterations like that.

    Raises:
        FileNotFoundError: sskd_mm is not installed, so its configs are
            missing.

    Example:
        >>> choose_recipe(cfg, student, teacher).train_cfg['mimic']
        {'max_epochs': 5, 'param_scheduler': [...]}
    """
    head = getattr(student, 'head', None)
    if isinstance(head, EmbeddingHead):
        recipe = _read('faces', 'sskd_face')
        if not any(True for _ in head.parameters()):
            # Nothing follows the embedding, so there is no head to train.
            recipe.train_cfg['head'] = dict(max_epochs=0)
    elif is_a(student, 'BaseClassifier') or (hasattr(head, 'num_classes')
                                             and not hasattr(
                                                 student, 'bbox_head')):
        blocks = spread_blocks(student, teacher) if 'head' in inherit else {}
        if blocks:
            inherit = ['backbone', *inherit]
        if not _has_small_images(dataset):
            name = 'sskd_imagenet'
        elif not blocks:
            name = 'sskd_cifar'
        elif _share_of_blocks(blocks, teacher) > FAR:
            name = 'sskd_cifar_siblings'
        else:
            name = 'sskd_cifar_far_siblings'
        recipe = _read('classifiers', name)
    else:
        recipe = _read('detectors', 'sskd_detection')
        if not both_have('neck', student, teacher):
            recipe.train_cfg['schedule'] = 'last'
        if not any('head' in part for part in inherit):
            # Unlike an inherited head, it needs full training.
            recipe.train_cfg['head']['param_scheduler'] = recipe.train_cfg[
                'mimic']['param_scheduler']
    recipe.model['stages'] = pair_stages(recipe.model['stages'], student,
                                         teacher)
    recipe.model.pop('inherit', None)
    if inherit:
        recipe.model['inherit'] = list(inherit)
    if not _is_sgd(cfg):
        # Their learning rates are meant for SGD.
        for phase in _settings(recipe.train_cfg):
            phase.pop('optim_wrapper', None)
    _set_lengths(recipe, TrainingLength.of(cfg.train_cfg))
    return recipe


def _read(kind: str, name: str) -> Recipe:
    file = f'_base_/{name}.py'
    sskd = Config.fromfile(find_shipped_config(file)).sskd.to_dict()
    model, train_cfg = sskd['model'], sskd['train_cfg']
    del model['type'], train_cfg['type']
    return Recipe(kind, file, model, train_cfg)


def _share_of_blocks(blocks: Dict[str, str], teacher: nn.Module) -> float:
    lists = {path.rpartition('.')[0] for path in blocks.values()}
    return len(blocks) / sum(len(teacher.get_submodule(x)) for x in lists)


def _has_small_images(dataset: Any) -> bool:
    sample = None if dataset is None else dataset[0]
    inputs = sample.get('inputs') if isinstance(sample, dict) else None
    return max(getattr(inputs, 'shape', ())[-2:],
               default=SMALL_IMAGE + 1) <= SMALL_IMAGE


def _settings(train_cfg: Dict[str, Any]) -> List[Dict[str, Any]]:
    """List the settings of all phases; the mimic phases share the first."""
    return [
        train_cfg['mimic'], *train_cfg.get('phases', {}).values(),
        *(train_cfg[key] for key in ('head', 'finetune') if key in train_cfg)
    ]


def _set_lengths(recipe: Recipe, length: TrainingLength) -> None:
    """Divide a training length among the phases, in their proportions."""
    train_cfg = recipe.train_cfg
    mimic, *single = _settings(train_cfg)
    schedule = train_cfg.get('schedule')
    number = len(schedule) if isinstance(schedule, list) else 1
    number -= len(train_cfg.get('phases', {}))
    total = number * mimic['max_epochs'] + sum(p['max_epochs'] for p in single)
    rest = length.number
    for phase in single:
        share = phase['max_epochs'] / total
        rest -= _set_length(phase, length.key, share and max(
            1, round(length.number * share)))
    rest -= number * _set_length(mimic, length.key, max(1, rest // number))
    recipe.length = length.number - rest
    # Caching the features of every pass would be useless.
    passes = min(train_cfg['head'].pop('cached_passes', 0),
                 train_cfg['head'].get('max_epochs', 0) - 1)
    if passes > 0:
        train_cfg['head']['cached_passes'] = passes


def _set_length(phase: Dict[str, Any], key: str, number: int) -> int:
    settings = {k: v for k, v in phase.items() if k != 'max_epochs'}
    phase.clear()
    phase.update({key: int(number), **settings})
    return int(number)


def _is_sgd(cfg: Config) -> bool:
    """Tell whether the optimizer is SGD, however the config names it."""
    found = cfg.optim_wrapper.get('optimizer', {}).get('type')
    if isinstance(found, str):
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            found = OPTIMIZERS.get(found)
    return isinstance(found, type) and issubclass(found, torch.optim.SGD)
