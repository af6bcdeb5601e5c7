# Copyright (c) sskd_mm authors. All rights reserved.
from argparse import ArgumentParser, Namespace
from typing import Optional

from mmengine.config import Config

from .checkpoint import allow_pickle


def add_pickle_option(parser: ArgumentParser) -> None:
    """Give a tool that reads checkpoints the option ``--allow-pickle FILE``.

    Args:
        parser (ArgumentParser): The tool's.

    Example:
        >>> add_pickle_option(parser)
        >>> args = parser.parse_args()
        >>> apply_pickle_option(args)
    """
    parser.add_argument(
        '--allow-pickle',
        nargs='+',
        action='extend',
        default=[],
        metavar='FILE',
        help='checkpoints that you trust to run code when they are read; '
        'of any other only tensors and plain data are')


def apply_pickle_option(args: Namespace, cfg: Optional[Config] = None) -> None:
    """Allow the files named on the command line and in the config.

    Args:
        args (Namespace): The parsed arguments.
        cfg (Config, optional): The tool's config; its ``allow_pickle`` is set
            to both. Defaults to None.

    Raises:
        TypeError: The config's ``allow_pickle`` is a single name.
    """
    named = [] if cfg is None else cfg.get('allow_pickle') or []
    allow_pickle(named)  # checks it
    files = [*named, *args.allow_pickle]
    allow_pickle(files)
    if cfg is not None and files:
        cfg.allow_pickle = files
