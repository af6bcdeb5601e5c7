# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from .curves import MIMIC
from .page_figure import INK, PageFigure
from .run_group import Curve, RunGroup
from .work_dir import WorkDir

_LABELS = {
    'iterations': 'iteration',
    'seconds': 'seconds of training, without validations',
    'FLOPs': 'FLOPs computed in training, in one process',
}


class _Panel(NamedTuple):
    """A panel: title, scale of its values, and per label a curve and whether
    it is drawn as dots."""

    title: str
    scale: str
    curves: List[Tuple[str, Curve, bool]]


def draw_phase_curves(group: RunGroup,
                      scratch: Optional[RunGroup] = None,
                      axis: str = 'iterations') -> Markup:
    """Plot the log of a training run, with the borders of its phases.

    Panels show the mimic loss of each stage, the distance to the teacher, the
    task loss and the first metric, if logged. Dots on the distance are the
    alignment on the validation set at the end of a phase. With several seeds,
    a line is the mean and a band the range.

    Args:
        group (RunGroup): The run, with any number of seeds.
        scratch (RunGroup, optional): The student from scratch, shown for
            comparison in the last two panels.
        axis (str): One of :data:`~sskd_mm.analysis.run_group.AXES`. Defaults
            to ``'iterations'``.

    Returns:
        Markup: An ``<svg>`` element.

    Raises:
        ValueError: Nothing was logged, or not what the axis needs.
    """
    both = [('student', group)]
    if scratch is not None:
        both.append(('from scratch', scratch))
    panels = [
        _Panel('Mimic loss of each stage', 'log',
               _series(group, MIMIC, axis)),
        _Panel('Distance to the teacher (relative L2)', 'linear',
               _series(group, 'distance_', axis) + _alignment(group, axis)),
        _Panel('Loss of the task', 'linear',
               _curves(both, _task_loss, axis)),
    ]
    if group.first.metrics:
        panels.append(_metric(both, next(iter(group.first.metrics)), axis))
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        raise ValueError(f'{group.first.path} holds no logged losses '
                         '(*/vis_data/scalars.json).')
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = PageFigure(5.5 * columns, 3.2 * rows, rows, columns)
    ends = np.mean([
        group.places(run, run.ends, axis) for run in group.runs
        if len(run.ends) == len(group.first.ends)
    ], 0)
    for axes, panel in zip(figure.panels, panels):
        _draw(figure, axes, panel, axis)
        for border in ends[:-1]:
            axes.axvline(border, color=INK, alpha=.35, lw=.8, ls=':')
    for axes in figure.panels[len(panels):]:
        axes.set_axis_off()
    return figure.svg()


def draw_metric_curves(groups: Sequence[RunGroup],
                       metric: str,
                       teachers: Dict[str, float],
                       axis: str = 'iterations') -> Markup:
    """Plot a metric of several training runs over their cost.

    Args:
        groups (Sequence[RunGroup]): The runs.
        metric (str): Name of the metric.
        teachers (dict[str, float]): The teachers' scores by name.
        axis (str): One of :data:`~sskd_mm.analysis.run_group.AXES`. Defaults
            to ``'iterations'``.

    Returns:
        Markup: An ``<svg>`` element.

    Raises:
        ValueError: No run has what the axis needs.
    """
    figure = PageFigure(10, 3.6)
    axes, = figure.panels
    _draw(figure, axes, _metric([(g.name, g) for g in groups], metric, axis),
          axis)
    for name, score in teachers.items():
        axes.axhline(score, color=INK, alpha=.6, lw=1, ls=':', label=name)
    figure.legend(axes, beside=True)
    return figure.svg()


def _draw(figure: PageFigure, axes: Axes, panel: _Panel, axis: str) -> None:
    colours: Dict[str, str] = {}
    for label, curve, dots in panel.curves:
        known = label in colours
        colour = colours.setdefault(label, f'C{len(colours) % 10}')
        few = len(curve.x) <= 20 and panel.scale == 'linear'
        axes.plot(
            curve.x,
            curve.mean,
            'o' if dots or len(curve.x) == 1 else '.-' if few else '-',
            color=colour,
            label=None if known else label)
        if (curve.low != curve.high).any():
            axes.fill_between(
                curve.x, curve.low, curve.high, color=colour, alpha=.2, lw=0)
    axes.set(title=panel.title, xlabel=_LABELS[axis], yscale=panel.scale)
    axes.set_xlim(left=0)
    if axis == 'FLOPs':
        axes.xaxis.set_major_formatter(EngFormatter())
    figure.legend(axes)


def _curves(groups: Iterable[Tuple[str, RunGroup]], points,
            axis: str) -> List[Tuple[str, Curve, bool]]:
    found = [(name, group.curve(points, axis)) for name, group in groups]
    return [(name, curve, False) for name, curve in found
            if curve is not None]


def _series(group: RunGroup, prefix: str,
            axis: str) -> List[Tuple[str, Curve, bool]]:
    names = dict.fromkeys(key for point in group.first.losses
                          for key in point if key.startswith(prefix))
    curves = []
    for name in names:
        curves += _curves([(name[len(prefix):], group)],
                          lambda run, name=name: [(p['iter'], p[name])
                                                  for p in run.losses
                                                  if name in p], axis)
    return curves


def _alignment(group: RunGroup, axis: str) -> List[Tuple[str, Curve, bool]]:
    taps = dict.fromkeys(tap for phase in group.first.phases
                         for tap in phase.get('alignment', {}))
    curves = []
    for tap in taps:

        def measured(run: WorkDir, tap=tap) -> List[Tuple[int, float]]:
            found = [(end, phase.get('alignment', {}).get(tap, {}))
                     for phase, end in zip(run.phases, run.ends)]
            return [(end, values['relative_l2']) for end, values in found
                    if 'relative_l2' in values]

        curve = group.curve(measured, axis)
        if curve is not None:
            curves.append((tap, curve, True))
    return curves


def _task_loss(run: WorkDir) -> List[Tuple[int, float]]:
    return [(p['iter'], p['loss']) for p in run.losses
            if not any(key.startswith(MIMIC) for key in p)]


def _metric(groups: Sequence[Tuple[str, RunGroup]], metric: str,
            axis: str) -> _Panel:

    def points(run: WorkDir) -> List[Tuple[int, float]]:
        return [(p['iteration'], p[metric]) for p in run.validations
                if metric in p]

    return _Panel(metric, 'linear', _curves(groups, points, axis))
