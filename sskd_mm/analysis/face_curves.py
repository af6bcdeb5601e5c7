# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Dict, Optional, Union

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..evaluation import Identification, RocCurve, Verification

#: Ranks that a CMC shows.
RANKS = 20


def plot_faces(file: Union[str, Path],
               verifications: Dict[str, Verification],
               identifications: Optional[Dict[str, Identification]] = None,
               title: str = '') -> None:
    """Plot ROC, DET, score histograms and CMC of one or several results.

    Rates are the strict ones: at each FAR the largest TAR that keeps it.
    What lies left of one in all impostor pairs was not measured and is not
    drawn.

    Args:
        file (str or Path): The picture to write.
        verifications (dict[str, Verification]): By name.
        identifications (dict[str, Identification], optional): By name;
            without them there is no CMC.
        title (str): Above all. Defaults to none.
    """
    panels = [_roc, _det, _histogram] + [_cmc] * bool(identifications)
    with matplotlib.rc_context({'axes.grid': True, 'grid.alpha': .3}):
        # Beyond ten names, as of many splits, colours run along a map.
        names = list(verifications)
        colours = dict(
            zip(
                names, matplotlib.colormaps['tab10'].colors if len(names) <= 10
                else matplotlib.colormaps['viridis'](np.linspace(
                    0, .9, len(names)))))
        figure = Figure(figsize=(5 * len(panels), 4.2), layout='constrained')
        figure.suptitle(title)
        for axes, draw in zip(figure.subplots(1, len(panels)), panels):
            for name, colour in colours.items():
                result = (
                    identifications
                    if draw is _cmc else verifications).get(name)
                if result is not None:
                    draw(axes, result, name, colour)
            axes.legend(fontsize='small')
        figure.savefig(file, dpi=120)


def _strict(curve: RocCurve) -> np.ndarray:
    """FARs along a logarithmic axis, and the best TAR with at most each."""
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
    # A logarithmic axis has no 0: without a false rejection it ends.
    missed = np.where(tar < 1, 1 - tar, np.nan)
    axes.plot(
        far,
        missed,
        color=colour,
        drawstyle='steps-post',
        label=f'{name} (EER {100 * result.roc.eer:.2f} %)')
    axes.set(
        title='DET', xlabel='FAR', ylabel='1 - TAR', xscale='log',
        yscale='log')


def _histogram(axes: Axes, result: Verification, name: str, colour) -> None:
    bins = np.linspace(-1, 1, 101)
    for same, style, kind in ((True, 'solid', 'genuine'),
                              (False, 'dashed', 'impostor')):
        axes.hist(
            result.similarities[result.same == same].clip(-1, 1),
            bins,
            density=True,
            histtype='step',
            color=colour,
            linestyle=style,
            label=f'{name}, {kind}')
    axes.set(
        title='Similarities', xlabel='cosine similarity', ylabel='density')


def _cmc(axes: Axes, result: Identification, name: str, colour) -> None:
    rates = result.cmc(RANKS)
    axes.plot(
        np.arange(1, RANKS + 1),
        rates,
        color=colour,
        marker='.',
        label=f'{name} (rank-1 {100 * rates[0]:.2f} %)')
    axes.set(title='CMC', xlabel='rank', ylabel='identified')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
