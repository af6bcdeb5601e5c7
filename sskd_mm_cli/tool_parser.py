# Copyright (c) sskd_mm authors. All rights reserved.
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path


class ToolParser(ArgumentParser):
    """The argument parser of a tool.

    It has ``--debug``, which :func:`run_tool` reads, and is named after the
    command: ``train.py`` or ``sskd train``.

    Args:
        description (str): What the tool does, shown verbatim.

    Example:
        >>> parser = ToolParser(__doc__)
        >>> parser.add_argument('work_dir')
        >>> args = parser.parse_args()
    """

    def __init__(self, description: str) -> None:
        super().__init__(
            prog=Path(sys.argv[0]).name,
            description=description,
            formatter_class=RawDescriptionHelpFormatter)
        self.add_argument(
            '--debug',
            action='store_true',
            help='show the traceback of every error')
