# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Dict, Optional, Tuple, Union

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..evaluation import Identification, RocCurve, Verification

#: Maximum number of ranks in a CMC.
RANKS = 20


def plot_faces(file: Union[str, Path],
               verifications: Dict[str, Verification],
               identifications: Optional[Dict[str, Identification]] = None,
               title: str = '') -> None:
    """Plot ROC, DET, score histograms and CMC of one or several results.

    Rates are strict: at each FAR, the largest TAR that does not exceed it.
    FARs below one over the number of impostor pairs cannot be measured and
    are not drawn.

    Args:
        file (str or Path): The picture to write.
        verifications (dict[str, Verification]): Results by name.
        identifications (dict[str, Identification], optional): Results by
            name; without them there is no CMC.
        title (str): Title of the figure. Defaults to none.
    """
    panels = [_roc, _det, _histogram] + [_cmc] * bool(identifications)
    with matplotlib.rc_context({'axes.grid': True, 'grid.alpha': .3}):
        shape, size = ((2, 2), (11, 8)) if identifications else ((1, 3),
                                                                 (15, 4.2))
        figure = Figure(figsize=size, layout='constrained')
        figure.suptitle(title)
        for axes, draw in zip(figure.subplots(*shape).flat, panels):
            results = identifications if draw is _cmc else verifications
            for number, (name, result) in enumerate(results.items()):
                draw(axes, result, name, f'C{number % 10}')
            if draw is not _histogram:
                axes.legend(fontsize='small')
                axes.set_ylim(top=1.2 if draw is _det else 1.01)
            if draw in (_roc, _cmc):  # Rates end at 100 %.
                axes.set_yticks([y for y in axes.get_yticks() if y <= 1.001])
        figure.savefig(file, dpi=120)


def _strict(curve: RocCurve) -> Tuple[np.ndarray, np.ndarray]:
    """Get FARs on a logarithmic axis and the best TAR for each."""
    far = np.geomspace(1 / curve.impostors, 1, 1000)
    return far, curve.tar[np.searchsorted(curve.far, far, 'right') - 1]


def _roc(axes: Axes, result: Verification, name: str, colour) -> None:
    far, tar = _strict(result.roc)
    axes.plot(
        far,
        tar,
        color=colour,
        drawstyle='steps-post',
        label=f'{name} (AUC {100 * result.roc.auc:.2f} %)')
    axes.set(title='ROC', xlabel='FAR', ylabel='TAR', xscale='log')
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _det(axes: Axes, result: Verification, name: str, colour) -> None:
    far, tar = _strict(result.roc)
    # A logarithmic axis has no 0: without false rejections a curve runs along
    # a floor, below one over the number of genuine pairs.
    floor = 0.7 / result.roc.genuine
    axes.plot(
        far,
        np.maximum(1 - tar, floor),
        color=colour,
        drawstyle='steps-post',
        label=f'{name} (EER {100 * result.roc.eer:.2f} %)')
    axes.set(
        title='DET', xlabel='FAR', ylabel='1 - TAR', xscale='log',
        yscale='log')


def _histogram(axes: Axes, result: Verification, name: str, colour) -> None:
    bins = np.linspace(-1, 1, 51)
    for same, style in ((True, 'solid'), (False, 'dashed')):
        axes.hist(
            result.similarities[result.same == same].clip(-1, 1),
            bins,
            density=True,
            histtype='stepfilled',
            edgecolor=colour,
            facecolor=(colour, .15 if same else 0),
            linewidth=1.5,
            linestyle=style)
    axes.set(
        title='Similarities: genuine pairs solid, impostors dashed',
        xlabel='cosine similarity',
        ylabel='density')


def _cmc(axes: Axes, result: Identification, name: str, colour) -> None:
    # Up to the first rank with all probes identified, plus one.
    ranks = 1 + max(int(found.rank.max()) for found in result.results)
    rates = result.cmc(min(ranks, RANKS))
    axes.plot(
        np.arange(1, len(rates) + 1),
        rates,
        color=colour,
        marker='.',
        alpha=.8,
        label=f'{name} (rank-1 {100 * rates[0]:.2f} %)')
    axes.set(title='CMC', xlabel='rank', ylabel='identified')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
