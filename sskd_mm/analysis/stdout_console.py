# Copyright (c) sskd_mm authors. All rights reserved.
import os

from rich.console import Console


def stdout_console() -> Console:
    """What tables are printed with.

    On a terminal they are as wide as it is. In a pipe or a file nothing is
    cut, unless ``COLUMNS`` says how wide that is.

    Returns:
        Console: Of rich, on standard output.
    """
    console = Console()
    if not console.is_terminal and 'COLUMNS' not in os.environ:
        console.width = 1000
    return console
