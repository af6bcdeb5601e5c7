# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
from typing import Any, Dict, List, Optional, Sequence

from markupsafe import Markup

from .missing import Missing, attempt
from .page_figure import INK, PageFigure
from .phase_curves import draw_metric_curves
from .plot_scores import plot_scores
from .run_group import AXES, RunGroup


def compare_groups(groups: Sequence[RunGroup], methods: Dict[str, str],
                   students: Dict[str, str],
                   measured: Dict[str, dict]) -> Dict[str, Any]:
    """Compare training runs for a report.

    Args:
        groups (Sequence[RunGroup]): The runs.
        methods (dict[str, str]): Training method by group name.
        students (dict[str, str]): Trained network by group name.
        measured (dict[str, dict]): For groups whose training did not evaluate
            the teachers: ``images``, ``total`` and the teachers' ``metrics``
            measured for this report.

    Returns:
        dict: ``metric`` (the first metric found), ``rows`` of the table,
        ``images`` on which teachers were measured afterwards, ``scores`` (a
        picture) and ``curves`` (a picture per axis).
    """
    metric = next((next(iter(run.metrics))
                   for group in groups for run in group.runs if run.metrics),
                  None)
    rows, images = [], None
    for group in groups:
        teachers, afterwards = _teachers(group, metric), False
        if not teachers and group.name in measured:
            found = measured[group.name]
            teachers = {
                name: values[metric]
                for name, values in found['metrics'].items()
                if name.startswith('teacher') and metric in values
            }
            afterwards = bool(teachers)
            if afterwards:
                images = f'{found["images"]} of {found["total"]}'
        rows.append(
            dict(
                name=group.name,
                method=methods[group.name],
                student=students[group.name],
                last=group.scores(metric),
                best=group.scores(metric, max),
                teachers=teachers,
                afterwards=afterwards,
                epochs=_number(run.epochs for run in group.runs),
                iterations=_number(run.iterations for run in group.runs),
                seconds=[
                    run.seconds for run in group.runs
                    if run.seconds is not None and run.seconds == run.seconds
                ],
                seeds=group.seeds))
    lines = _lines(rows)
    return dict(
        metric=metric,
        rows=rows,
        images=images,
        scores=attempt(_draw_scores, rows, metric, lines)
        if metric else Missing('no work directory holds a validation.'),
        curves={
            axis: attempt(draw_metric_curves, groups, metric, lines, axis)
            for axis in AXES
        } if metric else {})


def _teachers(group: RunGroup, metric: str) -> Dict[str, float]:
    """Get the teachers' scores before training."""
    found: Dict[str, List[float]] = {}
    for run in group.runs:
        for name, metrics in run.teachers.items():
            if metric in metrics:
                found.setdefault(name, []).append(metrics[metric])
    return {name: statistics.mean(values) for name, values in found.items()}


def _lines(rows: List[dict]) -> Dict[str, float]:
    """List each teacher's score once, whatever its number of students."""
    lines: Dict[str, float] = {}
    for row in rows:
        for name, score in row['teachers'].items():
            if score not in lines.values():
                lines[name if name not in lines else
                      f'{name} of {row["name"]}'] = score
    return lines


def _number(values) -> Optional[int]:
    """Get the value shared by all runs, which may differ if unfinished."""
    return max((value for value in values if value is not None), default=None)


def _draw_scores(rows: List[dict], metric: str,
                 teachers: Dict[str, float]) -> Markup:
    scores = {row['name']: row['last'] for row in rows if row['last']}
    figure = PageFigure(8, .9 + .38 * len(scores))
    axes, = figure.panels
    plot_scores(axes, scores, teachers, INK)
    axes.set(xlabel=f'{metric}, last validation')
    return figure.svg()
