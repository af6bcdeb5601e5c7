# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
from typing import Dict, Optional, Sequence

from matplotlib.axes import Axes


def plot_scores(axes: Axes,
                scores: Dict[str, Sequence[float]],
                teachers: Optional[Dict[str, float]] = None,
                colour: str = 'grey') -> None:
    """Draw scores as dots over a scale, a row a name.

    A dot is a seed; of several the mean is a line. Bars would have to begin
    at 0, where differences are not seen.

    Args:
        axes (Axes): Where to draw.
        scores (dict[str, Sequence[float]]): Of each name one value a seed.
        teachers (dict[str, float], optional): What teachers score, as dotted
            lines. Defaults to none.
        colour (str): Of these lines. Defaults to ``'grey'``.
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
