# Copyright (c) sskd_mm authors. All rights reserved.
import difflib
import logging
from dataclasses import dataclass
from itertools import zip_longest
from typing import Iterable, List, Optional, Sequence, Tuple, Union

import torch.nn as nn
from mmengine.logging import print_log

from ..check_keys import check_keys
from .auto import find_stages
from .frozen import is_frozen, thawing_advice

#: Valid axes of a layout, in alphabetical order.
_LAYOUTS = {'CN', 'CLN', 'CHNW', 'CHLNW'}


@dataclass(frozen=True)
class Stage:
    """A consecutive part of the network that ends at a tap.

    Attributes:
        name (str): Short name; its mimic phase is called ``mimic/<name>``.
        student (str): Module path of the tap in the student.
        teachers (tuple[str]): Module path of the tap in each teacher; None
            for one that does not teach this stage.
        layouts (tuple[str]): The layouts that the config gives for the
            student's and each teacher's tap, such as ``'NHWC'``, or None;
            empty if it gives none.
    """

    name: str
    student: str
    teachers: Tuple[Optional[str], ...]
    layouts: Tuple[Optional[str], ...] = ()

    @property
    def paths(self) -> Tuple[Optional[str], ...]:
        """tuple[str]: The taps of the student and of each teacher."""
        return self.student, *self.teachers


def parse_stages(stages: Union[str, Sequence[Union[str, dict]]],
                 student: nn.Module,
                 teachers: Sequence[nn.Module]) -> List[Stage]:
    """Parse and check the ``stages`` of a config.

    Args:
        stages (str or list): ``'auto'``, or a list in the order of execution.
            Each entry is a module path for all networks,
            ``dict(student=PATH, teacher=PATH, name=NAME)`` (``name`` is
            optional), or ``'auto'`` for the stages found automatically, except
            those that the student's config freezes. With several teachers,
            ``teacher`` may be a list of paths, None for one that does not
            teach this stage. ``layout`` names the axes of a tap's output if
            its shape is ambiguous, e.g. ``'NHWC'``: for all networks, or
            ``dict(student=..., teacher=...)``.
        student (nn.Module): The student, e.g. an mmdet detector.
        teachers (Sequence[nn.Module]): The teachers.

    Returns:
        list[Stage]: The stages.

    Raises:
        ValueError: A module path does not exist, a name is used twice, the
            numbers of stages differ, or ``'auto'`` is given for a student
            whose stages are all frozen.

    Example:
        >>> stages = ['backbone.layer2', 'backbone.layer4',
        >>>           dict(student='neck', teacher='neck', name='fpn')]
        >>> # Those of a classifier, and the input of its head:
        >>> stages = ['auto', 'neck']
        >>> # Channels last in the student:
        >>> stages = [dict(student='backbone.layers.5',
        >>>                teacher='backbone.layer4',
        >>>                layout=dict(student='NHWC'))]
        >>> # Two teachers, one per stage:
        >>> stages = [
        >>>     dict(student='backbone.layer4',
        >>>          teacher=['backbone.layer4', None]),
        >>>     dict(student='neck', teacher=[None, 'neck'])]
    """
    if not stages or isinstance(stages, str) and stages != 'auto':
        raise ValueError(f"stages={stages!r}: give 'auto' or a list of module "
                         "paths such as ['backbone.layer1', 'neck'].")
    entries = []
    for entry in [stages] if stages == 'auto' else stages:
        entries += (
            _find_entries(student, teachers)
            if entry == 'auto' else [_parse_entry(entry, len(teachers))])
    for name, student_path, paths, _ in entries:
        _check_path(student, student_path, 'student')
        for teacher, path in zip(teachers, paths):
            if path is not None:
                _check_path(teacher, path, 'teacher')
    names = _unique_names(entries)
    return [
        Stage(n, s, tuple(t), layouts)
        for n, (_, s, t, layouts) in zip(names, entries)
    ]


def default_name(path: str) -> str:
    """The default name of a stage: its path without the first module."""
    return path.split('.', 1)[-1]


def _find_entries(student, teachers):
    found = find_stages(student)
    paths = [_pair(found, find_stages(teacher)) for teacher in teachers]
    frozen = [s for s in found if is_frozen(student.get_submodule(s))]
    if len(frozen) == len(found):
        raise ValueError(
            "stages='auto': the student's config freezes all of its stages, "
            f'{", ".join(found)}. Write before `model`: '
            f'{thawing_advice(student)}')
    if frozen:
        print_log(
            f"stages='auto' leaves out {', '.join(frozen)}, which the "
            "student's config freezes. To distil all stages write before "
            f'`model`: {thawing_advice(student)}',
            logger='current',
            level=logging.WARNING)
    return [(None, s, t, ()) for s, *t in zip(found, *paths)
            if s not in frozen]


def _parse_entry(entry, num_teachers):
    if isinstance(entry, str):
        return None, entry, [entry] * num_teachers, ()
    check_keys(f'stages: the entry {dict(entry)}', entry,
               ('student', 'teacher', 'name', 'layout'))
    if not {'student', 'teacher'} <= set(entry):
        raise ValueError(
            f'stages: the entry {dict(entry)} must have the keys student and '
            'teacher, each a module path; name and layout are optional.')
    paths = entry['teacher']
    if isinstance(paths, str):
        paths = [paths] * num_teachers
    if len(paths) != num_teachers or not any(paths):
        raise ValueError(
            f'stages: teacher={list(paths)} for {entry["student"]!r} must '
            f'have one entry for each of the {num_teachers} teachers, a '
            'module path or None, but not None for all.')
    layouts = _parse_layout(entry, num_teachers)
    return entry.get('name'), entry['student'], paths, layouts


def _parse_layout(entry, num_teachers):
    layout = entry.get('layout')
    if layout is None:
        return ()
    if isinstance(layout, str):
        layout = dict(student=layout, teacher=layout)
    check_keys(f'stages: layout of the entry {dict(entry)}', layout,
               ('student', 'teacher'))
    teachers = layout.get('teacher')
    if teachers is None or isinstance(teachers, str):
        teachers = [teachers] * num_teachers
    layouts = (layout.get('student'), *teachers)
    for name in layouts:
        if name is not None and ''.join(sorted(name)) not in _LAYOUTS:
            raise ValueError(
                f'stages: layout={name!r} of the entry {dict(entry)} must '
                "name each axis once: 'NCHW' or 'NHWC' for a map, 'NLC' for "
                "tokens, 'NC' for an embedding, 'NLHWC' for L windows of "
                'H x W cells.')
    if len(teachers) != num_teachers:
        raise ValueError(
            f'stages: layout of the entry {dict(entry)} must have one '
            f'entry for each of the {num_teachers} teachers, or None.')
    return layouts


def _pair(student_paths: List[str], teacher_paths: List[str]) -> List[str]:
    if len(student_paths) != len(teacher_paths):
        rows = '\n'.join(
            f'  {s:<40}{t}' for s, t in zip_longest(
                student_paths, teacher_paths, fillvalue='-'))
        raise ValueError(
            "stages='auto' found different numbers of stages:\n"
            f"  {'student':<40}teacher\n{rows}\n"
            'Pair them yourself: stages=[dict(student=..., teacher=...), '
            '...].')
    return teacher_paths


def _check_path(model: nn.Module, path: str, role: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if path not in names:
        close = difflib.get_close_matches(path, names, n=5, cutoff=0.4)
        raise ValueError(
            f'stages: the {role} ({type(model).__name__}) has no module '
            f'{path!r}. Similar ones: {", ".join(close or names[:10])}.')


def _unique_names(pairs) -> Iterable[str]:
    names = [name or default_name(path) for name, path, *_ in pairs]
    for name in names:
        if names.count(name) > 1 or name == 'head':
            raise ValueError(
                f'stages: the name {name!r} is used twice or reserved; give '
                'each stage a unique name: dict(student=..., teacher=..., '
                'name=...).')
    return names
