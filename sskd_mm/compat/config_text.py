# Copyright (c) sskd_mm authors. All rights reserved.
"""Lets MMEngine format the text of a config once.

It has yapf format the whole config anew for the log, for the copy in the work
directory, for the visualizer, for the message hub and for each checkpoint.
That takes seconds, and at the start of a small training more than anything
else.
"""
import sys
from functools import lru_cache, wraps
from typing import Callable, Tuple

from yapf.yapflib import yapf_api


def _remember(format_code: Callable) -> Callable:
    """A ``FormatCode`` that knows the results of its last texts."""

    @lru_cache(maxsize=4)
    def cached(text: str, style: tuple, options: tuple) -> Tuple[str, bool]:
        return format_code(text, style_config=dict(style), **dict(options))

    @wraps(format_code)
    def remembered(text, *args, style_config=None, **options):
        if args or not isinstance(style_config, dict):
            # Not as MMEngine calls it.
            return format_code(
                text, *args, style_config=style_config, **options)
        return cached(text, tuple(style_config.items()),
                      tuple(options.items()))

    return remembered


def install() -> None:
    """Let MMEngine remember the texts that it formatted."""
    # The stacks look the function up in different places.
    remembered = _remember(yapf_api.FormatCode)
    yapf_api.FormatCode = remembered
    module = sys.modules['mmengine.config.config']
    if hasattr(module, 'FormatCode'):
        module.FormatCode = remembered
