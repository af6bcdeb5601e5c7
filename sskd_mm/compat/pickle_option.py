# Copyright (c) sskd_mm authors. All rights reserved.
from argparse import Namespace
from typing import Optional

from mmengine.config import Config

from .checkpoint import allow_pickle


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
