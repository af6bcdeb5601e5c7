# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
from typing import Dict, Optional, Sequence

from matplotlib.axes import Axes


def plot_scores(axes: Axes,
                scores: Dict[str, Sequence[float]],
                teachers: Optional[Dict[str, float]] = None,
                colour: str = 'grey') -> None:
    """Plot scores as dots on a scale, one row per name.

    Each dot is a seed; a line marks the mean of several. Bars would have to
    start at 0, which hides differences.

    Args:
        axes (Axes): The axes to draw on.
        scores (dict[str, Sequence[float]]): One value per seed, by name.
        teachers (dict[str, float], optional): The teachers' scores, drawn as
            dotted lines. Defaults to none.
        colour (str): Colour of these lines. Defaults to ``'grey'``.
    """
    for position, values in enumerate(scores.values()):
        several = len(values) > 1
        axes.plot(
            values, [position] * len(values),
            'o',
            alpha=.5 if several else 1,
            color='C0')
        if several:
            axes.plot(
                statistics.mean(values),
                position,
                '|',
                color='C3',
                markersize=18,
                markeredgewidth=2)
    for score in (teachers or {}).values():
        axes.axvline(score, color=colour, ls=':')
    axes.set_yticks(range(len(scores)), list(scores))
    axes.set_ylim(len(scores) - .5, -.5)
