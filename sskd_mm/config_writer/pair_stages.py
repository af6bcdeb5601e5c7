# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, List, Sequence

from torch import nn

from ..stages import find_stages


def pair_stages(stages: Sequence[str], student: nn.Module,
                teacher: nn.Module) -> List[Any]:
    """Fit the ``stages`` of a recipe to a pair of networks.

    Args:
        stages (Sequence[str]): ``'auto'``, ``'neck'`` and other module paths.
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        list: The stages that both have. If their backbones have different
        numbers of stages, the last ones replace ``'auto'``; a neck with
        weights, which counts as a stage, is listed once.

    Raises:
        ValueError: There is no neck, and the stages of a backbone are
            unknown.

    Example:
        >>> pair_stages(['auto', 'neck'], resnet18, resnet50)
        ['auto', 'neck']
    """
    necks = both_have('neck', student, teacher)
    if 'auto' not in stages and necks:
        return list(stages)
    others = [
        path for path in stages if path not in ('auto', 'neck')
        and both_have(path, student, teacher)
    ]
    return [*_pair(student, teacher, ['neck'] if necks else []), *others]


def both_have(path: str, student: nn.Module, teacher: nn.Module) -> bool:
    """Tell whether both networks have a module with this path."""
    names = (dict(model.named_modules()) for model in (student, teacher))
    return all(path in each for each in names)


def _pair(student: nn.Module, teacher: nn.Module,
          neck: List[str]) -> List[Any]:
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
    # 'auto' counts a neck with weights as a stage.
    listed = ['neck' in paths for paths in found]
    if all(listed):
        return ['auto']
    if any(listed):
        return [
            s if s == t else dict(student=s, teacher=t)
            for s, t in zip(own, theirs)
        ] + neck
    return ['auto', *neck]
