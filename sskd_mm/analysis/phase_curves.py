# Copyright (c) sskd_mm authors. All rights reserved.
import io
import re
from itertools import count
from typing import Dict, List, Optional, Tuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .curves import MIMIC
from .work_dir import WorkDir

#: Of text and axes, until it becomes the colour of the page's text.
_INK = '#010203'
_NUMBERS = count()


def draw_phase_curves(run: WorkDir, scratch: Optional[WorkDir] = None) -> str:
    """Draw what a training has logged, with the borders of its phases.

    There is a panel for the mimic loss of each stage, its distance to the
    teacher, the task's loss, and the first metric, as far as they were
    logged. A dot on a distance is the alignment on the validation set,
    measured at the end of a phase.

    Args:
        run (WorkDir): Of the training.
        scratch (WorkDir, optional): Of the student from scratch, which stands
            beside it in the last two panels.

    Returns:
        str: An ``<svg>`` element whose text and axes have the colour of the
        text around it.

    Raises:
        ValueError: Nothing was logged.
    """
    panels = [
        panel for panel in (_mimic(run), _distance(run), _task(run, scratch),
                            _metric(run, scratch)) if panel[-1]
    ]
    if not panels:
        raise ValueError(f'{run.path} holds no logged losses '
                         '(*/vis_data/scalars.json).')
    style = dict.fromkeys(('text.color', 'axes.edgecolor', 'axes.labelcolor',
                           'xtick.color', 'ytick.color'), _INK)
    # Text in the page's own letters, not as outlines.
    style['svg.fonttype'] = 'none'
    with matplotlib.rc_context(style):
        rows = -(-len(panels) // 2)
        figure = Figure(
            figsize=(11 if len(panels) > 1 else 5.5, 3.2 * rows),
            layout='constrained')
        figure.patch.set_alpha(0)
        grid = list(
            figure.subplots(rows, min(2, len(panels)), squeeze=False).flat)
        for axes, (title, scale, curves) in zip(grid, panels):
            _draw(axes, title, scale, curves)
            for border in _ends(run)[:-1]:
                axes.axvline(border, color=_INK, alpha=.35, lw=.8, ls=':')
        for axes in grid[len(panels):]:
            axes.set_axis_off()
        return _svg(figure)


#: A label, its points, and whether they are dots.
Curve = Tuple[str, List[Tuple[float, float]], bool]


def _draw(axes: Axes, title: str, scale: str, curves: List[Curve]) -> None:
    axes.patch.set_alpha(0)
    axes.grid(alpha=.2, color=_INK)
    colours: Dict[str, str] = {}
    for label, points, dots in curves:
        known = label in colours
        colour = colours.setdefault(label, f'C{len(colours) % 10}')
        axes.plot(
            *zip(*points),
            'o' if dots or len(points) == 1 else '-',
            color=colour,
            label=None if known else label)
    axes.set(title=title, xlabel='iteration', yscale=scale)
    axes.set_xlim(left=0)
    axes.legend(fontsize='small', framealpha=0)


def _series(run: WorkDir, prefix: str) -> List[Curve]:
    names = dict.fromkeys(
        key for point in run.losses for key in point if key.startswith(prefix))
    return [(name[len(prefix):], [(p['iter'], p[name]) for p in run.losses
                                  if name in p], False) for name in names]


def _mimic(run: WorkDir):
    return 'Mimic loss of each stage', 'log', _series(run, MIMIC)


def _distance(run: WorkDir):
    curves = _series(run, 'distance_')
    measured: Dict[str, list] = {}
    for phase, border in zip(run.phases, _ends(run)):
        for tap, values in phase.get('alignment', {}).items():
            if 'relative_l2' in values:
                measured.setdefault(tap, []).append(
                    (border, values['relative_l2']))
    curves += [(tap, points, True) for tap, points in measured.items()]
    return 'Distance to the teacher (relative L2)', 'linear', curves


def _task(run: WorkDir, scratch: Optional[WorkDir]):
    curves = []
    for label, each in (('student', run), ('from scratch', scratch)):
        points = [] if each is None else [
            (p['iter'], p['loss']) for p in each.losses
            if not any(key.startswith(MIMIC) for key in p)
        ]
        if points:
            curves.append((label, points, False))
    return 'Loss of the task', 'linear', curves


def _metric(run: WorkDir, scratch: Optional[WorkDir]):
    name = next(iter(run.metrics), '')
    curves = []
    for label, each in (('student', run), ('from scratch', scratch)):
        points = [] if each is None else [(_iteration(each, p['epoch']),
                                           p[name]) for p in each.validations
                                          if name in p]
        if points:
            curves.append((label, points, False))
    return name, 'linear', curves


def _iteration(run: WorkDir, epoch: int) -> int:
    """Where an epoch ended, as far as the log tells."""
    return max((p['iter'] for p in run.losses if p['epoch'] <= epoch),
               default=epoch)


def _ends(run: WorkDir) -> List[int]:
    ends, epoch = [], 0
    for phase in run.phases:
        epoch += phase['epochs']
        ends.append(_iteration(run, epoch))
    return ends


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(
        file,
        format='svg',
        metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
    text = file.getvalue()
    text = text[text.index('<svg'):].replace(_INK, 'currentColor')
    # Ids have to differ from those of other pictures on a page.
    return re.sub(r'(id="|url\(#|href="#)', rf'\1f{next(_NUMBERS)}-', text)
