# Copyright (c) sskd_mm authors. All rights reserved.
import re
from typing import List

import torch.nn as nn


def find_stages(model: nn.Module) -> List[str]:
    """Module paths of the stages of a network, in the order of execution.

    They are the stages of its backbone, as the backbone itself names them,
    up to the last one that it outputs, and its neck where that has weights.

    Args:
        model (nn.Module): A model with a ``backbone`` and maybe a ``neck``,
            as the detectors and classifiers of OpenMMLab have them.

    Returns:
        list[str]: For a ResNet with FPN ``['backbone.layer1', ...,
        'backbone.layer4', 'neck']``.

    Raises:
        ValueError: The backbone is of a kind whose stages are not known.
    """
    backbone = getattr(model, 'backbone', None)
    if backbone is None:
        raise ValueError(
            f"stages='auto' needs a model with a backbone, which "
            f'{type(model).__name__} has not. Write the stages as a list of '
            f'module paths; its parts are: {_children(model)}.')
    paths = [f'backbone.{name}' for name in _backbone_stages(backbone)]
    neck = getattr(model, 'neck', None)
    if neck is not None and any(True for _ in neck.parameters()):
        paths.append('neck')
    return paths


def _backbone_stages(backbone: nn.Module) -> List[str]:
    # ResNet and its many relatives keep the names of their stages in a list.
    for attribute in ('res_layers', 'layers', 'stages'):
        names = getattr(backbone, attribute, None)
        if isinstance(names, (list, tuple)) and all(
                isinstance(name, str) for name in names):
            return _used(backbone, list(names))
    for attribute in ('stages', 'layers'):
        modules = getattr(backbone, attribute, None)
        if isinstance(modules, (nn.ModuleList, nn.Sequential)):
            names = [f'{attribute}.{i}' for i in range(len(modules))]
            return _used(backbone, names)
    names = [
        name for name, _ in backbone.named_children()
        if re.fullmatch(r'(layer|stage)_?\d+', name)
    ]
    if names:
        return _used(backbone, sorted(names, key=_number))
    raise ValueError(
        f"stages='auto' does not know the stages of "
        f'{type(backbone).__name__}. Write them as a list of module paths, '
        'e.g. ' + ', '.join(f"'backbone.{n}'"
                            for n, _ in backbone.named_children()) + '.')


def _used(backbone: nn.Module, names: List[str]) -> List[str]:
    out_indices = getattr(backbone, 'out_indices', None)
    if not out_indices:
        return names
    last = max(i if i >= 0 else i + len(names) for i in out_indices)
    return names[:last + 1]


def _number(name: str) -> int:
    return int(re.search(r'\d+', name).group())


def _children(model: nn.Module) -> str:
    return ', '.join(name for name, _ in model.named_children())
