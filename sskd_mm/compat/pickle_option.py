# Copyright (c) sskd_mm authors. All rights reserved.
from argparse import Namespace
from typing import Optional

from mmengine.config import Config

from .checkpoint import allow_pickle


def apply_pickle_option(args: Namespace, cfg: Optional[Config] = None) -> None:
    """Allow the files that the command line names, and those that the config
    does.

    Args:
        args (Namespace): What the parser has returned.
        cfg (Config, optional): The tool's config, whose ``allow_pickle`` has
            both from now on. Defaults to None.

    Raises:
        TypeError: The config's ``allow_pickle`` is a single name.
    """
    named = [] if cfg is None else cfg.get('allow_pickle') or []
    allow_pickle(named)  # checks it
    files = [*named, *args.allow_pickle]
    allow_pickle(files)
    if cfg is not None and files:
        cfg.allow_pickle = files
