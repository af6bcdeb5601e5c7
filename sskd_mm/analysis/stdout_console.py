# Copyright (c) sskd_mm authors. All rights reserved.
import os

from rich.console import Console


def stdout_console() -> Console:
    """Get the console for printing tables.

    Tables fit the width of a terminal. In a pipe or file nothing is cut,
    unless ``COLUMNS`` sets the width.

    Returns:
        Console: A rich console on standard output.
    """
    console = Console()
    if not console.is_terminal and 'COLUMNS' not in os.environ:
        console.width = 1000
    return console
