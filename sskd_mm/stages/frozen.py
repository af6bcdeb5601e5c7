# Copyright (c) sskd_mm authors. All rights reserved.
import inspect
from typing import Any

from torch import nn


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters and none of them trains.

    Args:
        module (nn.Module): Any.

    Returns:
        bool: False for a module without parameters.
    """
    params = list(module.parameters())
    return bool(params) and not any(p.requires_grad for p in params)


def thawing_advice(student: nn.Module) -> str:
    """The line of a config by which a student's backbone freezes nothing.

    It goes before ``model``, where ``_base_`` is the student's config. All
    keys that freeze are named at once: a backbone without ``frozen_stages``
    whose ``norm_eval`` is left trains with frozen statistics.

    Args:
        student (nn.Module): A model with a ``backbone``.

    Returns:
        str: What to write, in words where no key of the backbone freezes.

    Example:
        >>> thawing_advice(student)  # mmdet's RetinaNet
        "_base_.model.backbone.update(frozen_stages=-1, norm_eval=False)"
    """
    backbone = getattr(student, 'backbone', None)
    settings = {}
    if hasattr(backbone, 'frozen_stages'):
        settings['frozen_stages'] = _default(type(backbone), 'frozen_stages')
    if getattr(backbone, 'norm_eval', False):
        settings['norm_eval'] = False
    if not settings:
        return 'requires_grad=True where its code freezes them'
    arguments = ', '.join(f'{key}={x!r}' for key, x in settings.items())
    return f'_base_.model.backbone.update({arguments})'


def _default(cls: type, name: str) -> Any:
    """Which freezes nothing: -1 for a ResNet, 0 for an EfficientNet of
    mmdet."""
    for base in cls.__mro__:
        parameter = inspect.signature(base.__init__).parameters.get(name)
        if parameter is not None and parameter.default is not parameter.empty:
            return parameter.default
    return -1
