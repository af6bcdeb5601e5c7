# Copyright (c) sskd_mm authors. All rights reserved.
from dataclasses import dataclass
from typing import Any, Dict, List

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope
from torch import nn

from ..models import MarginHead
from ..stages import find_stages
from .training_length import TrainingLength

#: What may have a length in ``train_cfg``.
PHASES = ('mimic', 'head', 'finetune')


@dataclass
class Recipe:
    """How a kind of student is distilled.

    Attributes:
        kind (str): ``'detectors'``, ``'classifiers'`` or ``'faces'``.
        model (dict): ``model`` without the networks.
        train_cfg (dict): The phases, as long together as the student's own
            training.
    """

    kind: str
    model: Dict[str, Any]
    train_cfg: Dict[str, Any]

    def shortest(self, key: str) -> int:
        """The length of the shortest phase, in the unit of ``key``."""
        return min(self.train_cfg[phase][key] for phase in PHASES
                   if phase in self.train_cfg)

    def total(self, key: str) -> int:
        """The length of all phases."""
        total = sum(self.train_cfg[phase][key] for phase in PHASES
                    if phase in self.train_cfg)
        schedule = self.train_cfg.get('schedule')
        if isinstance(schedule, list):
            total += self.train_cfg['mimic'][key] * (len(schedule) - 1)
        return total


def choose_recipe(cfg: Config, student: nn.Module,
                  teacher: nn.Module) -> Recipe:
    """The recipe for a pair of networks.

    Args:
        cfg (Config): The student's, whole.
        student (nn.Module): Built from it.
        teacher (nn.Module): The teacher.

    Returns:
        Recipe: As long as the student's own training, in epochs or in
        iterations as that is counted.

    Example:
        >>> choose_recipe(cfg, student, teacher).train_cfg['mimic']
        {'max_epochs': 5}
    """
    head = getattr(student, 'head', None)
    if isinstance(head, MarginHead):
        return _faces(cfg)
    if hasattr(head, 'num_classes') and not hasattr(student, 'bbox_head'):
        return _classifiers(cfg, student, teacher)
    return _detectors(cfg, student, teacher)


def _faces(cfg: Config) -> Recipe:
    # configs/_base_/sskd_face.py as it was before ORL was measured.
    key, length = TrainingLength.of(cfg.train_cfg)
    last = max(1, round(length / 20))
    return Recipe(
        'faces',
        dict(
            stages=['auto', 'backbone.features'],
            mimic_loss=dict(type='L2MimicLoss', normalize=True)),
        dict(
            schedule='joint',
            mimic={key: max(1, length - last)},
            head={
                key: last,
                **_scaled(cfg, lr=0.1)
            }))


def _classifiers(cfg: Config, student: nn.Module,
                 teacher: nn.Module) -> Recipe:
    # configs/_base_/sskd_imagenet.py, but both mimic phases alike.
    key, length = TrainingLength.of(cfg.train_cfg)
    mimic = max(1, (length - max(1, round(length / 10))) // 2)
    head = {key: max(1, length - 2 * mimic)}
    if _both_have_necks(student, teacher) and key == 'max_epochs':
        head['cached_passes'] = 1
    # The mean over all elements of a feature is a small loss. Of SGD this
    # makes up for it, and keeps the decay of the weights as it was.
    raised = _scaled(cfg, lr=10, weight_decay=0.1) if _is_sgd(cfg) else {}
    return Recipe(
        'classifiers', dict(stages=_pair_stages(student, teacher)),
        dict(
            schedule=['joint', 'last'],
            mimic={
                key: mimic,
                **raised
            },
            head=head))


def _detectors(cfg: Config, student: nn.Module, teacher: nn.Module) -> Recipe:
    # configs/_base_/sskd_detection.py
    key, length = TrainingLength.of(cfg.train_cfg)
    mimic, last = (max(1, round(length * part / 12)) for part in (5, 1))
    model, train_cfg = {}, {}
    if _both_have_necks(student, teacher):
        model['stages'] = ['neck']
    else:
        model['stages'] = _pair_stages(student, teacher)
        train_cfg['schedule'] = 'last'
    model['mimic_loss'] = dict(type='L2MimicLoss', normalize=True)
    train_cfg.update(
        mimic={key: mimic},
        head={
            key: last,
            **_scaled(cfg, lr=0.35)
        },
        finetune={
            key: max(1, length - mimic - last),
            **_scaled(cfg, lr=0.7)
        })
    return Recipe('detectors', model, train_cfg)


def _scaled(cfg: Config, **factors: float) -> Dict[str, Any]:
    """An ``optim_wrapper`` with settings of the student's optimizer times
    these factors, as far as it has them."""
    optimizer = cfg.optim_wrapper.get('optimizer', {})
    settings = {
        key: float(f'{optimizer[key] * factor:.3g}')
        for key, factor in factors.items() if optimizer.get(key)
    }
    return dict(optim_wrapper=dict(
        optimizer=settings)) if settings else {}


def _is_sgd(cfg: Config) -> bool:
    """Whether the optimizer is SGD, however the config names it."""
    found = cfg.optim_wrapper.get('optimizer', {}).get('type')
    if isinstance(found, str):
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            found = OPTIMIZERS.get(found)
    return isinstance(found, type) and issubclass(found, torch.optim.SGD)


def _both_have_necks(student: nn.Module, teacher: nn.Module) -> bool:
    return all(getattr(model, 'neck', None) for model in (student, teacher))


def _pair_stages(student: nn.Module, teacher: nn.Module) -> List[Any]:
    """The stages of both, and a neck (what a classifier has pooled) where
    both have one; where one backbone has more stages than the other, the last
    of each."""
    neck = ['neck'] if _both_have_necks(student, teacher) else []
    try:
        found = [find_stages(model) for model in (student, teacher)]
    except ValueError:
        if neck:
            return neck
        raise
    own, theirs = ([path for path in paths if path != 'neck']
                   for paths in found)
    if len(own) != len(theirs):
        return [dict(student=own[-1], teacher=theirs[-1]), *neck]
    # 'auto' counts a neck that has weights among the stages.
    listed = ['neck' in paths for paths in found]
    if all(listed):
        return ['auto']
    if any(listed):
        return [*_pairs(own, theirs), *neck]
    return ['auto', *neck]


def _pairs(own: List[str], theirs: List[str]) -> List[Any]:
    return [
        s if s == t else dict(student=s, teacher=t)
        for s, t in zip(own, theirs)
    ]
