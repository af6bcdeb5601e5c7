# Copyright (c) sskd_mm authors. All rights reserved.
import io
import re
from itertools import count

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Placeholder colour of text and axes, replaced by the page's text colour.
INK = '#010203'
_NUMBERS = count()
_STYLE = {
    **dict.fromkeys(('text.color', 'axes.edgecolor', 'axes.labelcolor',
                     'xtick.color', 'ytick.color'), INK),
    # Text in the page's own letters, not as outlines.
    'svg.fonttype': 'none',
    'font.size': 10,
    'axes.titlesize': 11,
    'axes.spines.top': False,
    'axes.spines.right': False,
}


class PageFigure:
    """A figure for a web page, with text and axes in the page's text colour.

    Args:
        width (float): Width in inches.
        height (float): Height in inches.
        rows (int): Rows of panels. Defaults to 1.
        columns (int): Columns of panels. Defaults to 1.

    Attributes:
        panels (list[Axes]): The panels, row by row.

    Example:
        >>> figure = PageFigure(5, 3)
        >>> figure.panels[0].plot([1, 2])
        >>> figure.svg()[:4]
        '<svg'
    """

    def __init__(self,
                 width: float,
                 height: float,
                 rows: int = 1,
                 columns: int = 1) -> None:
        with matplotlib.rc_context(_STYLE):
            self._figure = Figure(
                figsize=(width, height), layout='constrained')
            self._figure.patch.set_alpha(0)
            self.panels = list(
                self._figure.subplots(rows, columns, squeeze=False).flat)
        for axes in self.panels:
            axes.patch.set_alpha(0)
            axes.set_axisbelow(True)
            axes.grid(alpha=.2, color=INK, linewidth=.6)

    def legend(self, axes: Axes, beside: bool = False) -> None:
        """Add a legend, if anything has a label.

        Args:
            axes (Axes): One of the panels.
            beside (bool): Whether to place it to the right of the panel
                instead of inside. Defaults to False.
        """
        place = dict(loc='center left', bbox_to_anchor=(1, .5))
        with matplotlib.rc_context(_STYLE):
            if axes.get_legend_handles_labels()[0]:
                axes.legend(
                    fontsize='small',
                    framealpha=0,
                    **(place if beside else {}))

    def svg(self) -> Markup:
        """Markup: An ``<svg>`` element."""
        file = io.StringIO()
        with matplotlib.rc_context(_STYLE):
            self._figure.savefig(
                file,
                format='svg',
                metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
        text = file.getvalue()
        text = text[text.index('<svg'):].replace(INK, 'currentColor')
        # Ids must differ from those of other pictures on the page.
        number = next(_NUMBERS)
        return Markup(
            re.sub(r'(id="|url\(#|href="#)', rf'\1f{number}-', text))
