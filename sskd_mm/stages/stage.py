# Copyright (c) sskd_mm authors. All rights reserved.
import difflib
from dataclasses import dataclass
from typing import Iterable, List, Sequence, Union

import torch.nn as nn

from .auto import find_stages


@dataclass(frozen=True)
class Stage:
    """A consecutive part of the network that ends at a tap.

    Attributes:
        name (str): Short name; its mimic phase is called ``mimic/<name>``.
        student (str): Module path of the tap in the student.
        teacher (str): Module path of the tap in the teacher.
    """

    name: str
    student: str
    teacher: str


def parse_stages(stages: Union[str, Sequence[Union[str, dict]]],
                 student: nn.Module, teacher: nn.Module) -> List[Stage]:
    """Turn the ``stages`` of a config into checked :class:`Stage` objects.

    Args:
        stages (str or list): ``'auto'``, or one entry a stage in the order
            of execution: a module path that holds for both networks, or
            ``dict(student=PATH, teacher=PATH, name=NAME)`` where they differ
            (``name`` is optional).
        student (nn.Module): The student, e.g. an mmdet detector.
        teacher (nn.Module): The teacher.

    Returns:
        list[Stage]: The stages.

    Raises:
        ValueError: A module path that is not there, a name used twice, or
            numbers of stages that cannot be paired.

    Example:
        >>> stages = ['backbone.layer2', 'backbone.layer4',
        >>>           dict(student='neck', teacher='neck', name='fpn')]
    """
    if stages == 'auto':
        pairs = _pair(find_stages(student), find_stages(teacher))
    elif isinstance(stages, str) or not stages:
        raise ValueError(f"stages={stages!r}: give 'auto' or a list of module "
                         "paths such as ['backbone.layer1', 'neck'].")
    else:
        pairs = [_parse_entry(entry) for entry in stages]
    for name, student_path, teacher_path in pairs:
        _check_path(student, student_path, 'student')
        _check_path(teacher, teacher_path, 'teacher')
    names = _unique_names(pairs)
    return [Stage(n, s, t) for n, (_, s, t) in zip(names, pairs)]


def _parse_entry(entry):
    if isinstance(entry, str):
        return None, entry, entry
    unknown = set(entry) - {'student', 'teacher', 'name'}
    if unknown or not {'student', 'teacher'} <= set(entry):
        raise ValueError(
            f'stages: the entry {dict(entry)} must have the keys student and '
            'teacher (and may have name), each a module path.')
    return entry.get('name'), entry['student'], entry['teacher']


def _pair(student_paths: List[str], teacher_paths: List[str]):
    if len(student_paths) != len(teacher_paths):
        rows = '\n'.join(
            f'  {s:<40}{t}' for s, t in zip(
                _pad(student_paths, len(teacher_paths)),
                _pad(teacher_paths, len(student_paths))))
        raise ValueError(
            "stages='auto' found different numbers of stages:\n"
            f"  {'student':<40}teacher\n{rows}\n"
            'Write the pairs that you want: stages=[dict(student=..., '
            'teacher=...), ...].')
    return [(None, s, t) for s, t in zip(student_paths, teacher_paths)]


def _pad(paths: List[str], length: int) -> List[str]:
    return paths + ['-'] * (length - len(paths))


def _check_path(model: nn.Module, path: str, role: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if path not in names:
        close = difflib.get_close_matches(path, names, n=5, cutoff=0.4)
        raise ValueError(
            f'stages: the {role} ({type(model).__name__}) has no module '
            f'{path!r}. Near it: {", ".join(close or names[:10])}.')


def _unique_names(pairs) -> Iterable[str]:
    names = [name or path.split('.', 1)[-1] for name, path, _ in pairs]
    for name in names:
        if names.count(name) > 1 or name == 'head':
            raise ValueError(
                f'stages: the name {name!r} is taken twice or reserved; give '
                'each stage a name of its own: dict(student=..., '
                'teacher=..., name=...).')
    return names
