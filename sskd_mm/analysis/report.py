# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
from pathlib import Path
from typing import List, Sequence, Union

import jinja2

from .comparison import compare_groups
from .count_flops import format_gflops
from .mean_and_deviation import mean_and_deviation
from .missing import Missing
from .report_section import describe_section, student_name, teacher_cfgs
from .run_group import RunGroup
from .work_dir import WorkDir


def write_report(work_dirs: Sequence[Union[str, Path]],
                 file: Union[str, Path],
                 images: int = 256,
                 device: str = 'cpu',
                 trusted: Sequence[str] = ()) -> None:
    """Write an HTML report of one or several training runs.

    The page is a single self-contained file with style, curves and pictures.
    Networks are run if data, teacher and checkpoint still exist; what cannot
    be shown is replaced by a sentence that says why.

    Runs that differ only in the seed are shown as one, with mean and spread;
    networks are those of the first. The first run without a teacher is shown
    next to the others as the student from scratch, unless it trained a
    teacher.

    Args:
        work_dirs (Sequence[str or Path]): Of distillations and plain
            trainings.
        file (str or Path): The page to write.
        images (int): Number of test images to predict. Defaults to 256.
        device (str): Device for the networks. Defaults to ``'cpu'``.
        trusted (Sequence[str]): Checkpoints that may run code when loaded, in
            addition to the runs' own ``allow_pickle``, see
            :func:`~sskd_mm.compat.allow_pickle`. Defaults to none.

    Raises:
        FileNotFoundError: A directory is not a work directory.

    Example:
        >>> write_report(['work_dirs/sskd', 'work_dirs/scratch'],
        >>>              'report.html')
    """
    runs = {
        name: WorkDir(path)
        for name, path in zip(_names(work_dirs), work_dirs)
    }
    for run in runs.values():
        if run.config is not None and trusted:
            run.config.allow_pickle = [
                *run.config.get('allow_pickle', []), *trusted
            ]
    groups = RunGroup.group(runs)
    methods = {
        group.name: 'teacher'
        if _taught_by(group, groups) else group.first.method
        for group in groups
    }
    scratch = next((group for group in groups
                    if methods[group.name] == 'from scratch'), None)
    sections = [
        describe_section(group, None if group is scratch else scratch, images,
                         device) for group in groups
        if group.first.distils or group.first.phases or len(groups) == 1
    ]
    comparison = None
    if len(runs) > 1:
        comparison = compare_groups(
            groups, methods,
            {group.name: student_name(group.first) for group in groups}, {
                section['name']: section['measured']
                for section in sections
                if not isinstance(section['measured'], Missing)
            })
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True)
    environment.filters.update(
        number=_number,
        duration=_duration,
        gflops=lambda value: format_gflops(value, '.3g'))
    environment.tests.update(missing=lambda value: isinstance(value, Missing))
    page = environment.get_template('report.html').render(
        names=list(runs),
        sections=sections,
        comparison=comparison)
    Path(file).write_text(page, encoding='utf-8')


# --- Beside each other ------------------------------------------------------


def _names(work_dirs: Sequence[Union[str, Path]]) -> List[str]:
    """Shorten paths to as few trailing folders as distinguish them."""
    parts = [Path(path).resolve().parts for path in work_dirs]
    length = 1
    while (len({p[-length:] for p in parts}) < len({*parts})):
        length += 1
    return ['/'.join(p[-length:]) for p in parts]


def _taught_by(group: RunGroup, groups: Sequence[RunGroup]) -> List[RunGroup]:
    """Find the groups whose teacher this group trained."""
    return [
        other for other in groups if other is not group and any(
            run.trained(teacher['checkpoint']) for run in group.runs
            for teacher in teacher_cfgs(other.first)
            if teacher.get('checkpoint'))
    ]


# --- How things are written -------------------------------------------------


def _number(value: Union[None, float, Sequence[float]]) -> str:
    if isinstance(value, (list, tuple)):
        # CocoMetric has -1 where there is no box of that size.
        values = [v for v in value if v == v and v != -1]
        if not values:
            return '\u2013'
        return mean_and_deviation(values, 2 if max(map(abs, values)) >= 10
                                  else 3)
    if isinstance(value, int):
        return f'{value:,}'
    # Percentages, and rates from 0 to 1.
    return _number([]) if value is None else _number([value])


def _duration(seconds: Union[None, float, Sequence[float]]) -> str:
    if isinstance(seconds, (list, tuple)):
        seconds = statistics.mean(seconds) if seconds else None
    if seconds is None:
        return '\u2013'
    if seconds < 100:
        return f'{seconds:.1f} s'
    minutes = round(seconds / 60)
    return f'{minutes // 60} h {minutes % 60} min' if minutes > 99 else (
        f'{minutes} min')
