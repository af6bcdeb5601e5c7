# Copyright (c) sskd_mm authors. All rights reserved.
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text


class ModulePath:
    """A module's path in a cell of a table.

    Paths differ at their ends, so a narrow column keeps the end.

    Args:
        path (str): A path such as ``'student.backbone.layer4.1.conv2'``.

    Example:
        >>> ModulePath('student.backbone.layer4.1.conv2').fit(20)
        '...layer4.1.conv2'
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def fit(self, width: int) -> str:
        """Return the path, or its last parts after three dots.

        Args:
            width (int): Available characters. If even the last part is
                longer, its beginning is cut.
        """
        if len(self.path) <= width:
            return self.path
        parts = self.path.split('.')
        for number in range(1, len(parts)):
            text = '...' + '.'.join(parts[number:])
            if len(text) <= width:
                return text
        return self.path[-width:]

    def __rich_measure__(self, console: Console,
                         options: ConsoleOptions) -> Measurement:
        shortest = self.fit(len(self.path.rpartition('.')[2]) + 3)
        return Measurement(len(shortest),
                           len(self.path)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console,
                         options: ConsoleOptions) -> RenderResult:
        yield Text(self.fit(options.max_width), no_wrap=True)
