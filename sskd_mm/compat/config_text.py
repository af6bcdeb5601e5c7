# Copyright (c) sskd_mm authors. All rights reserved.
"""Makes MMEngine format the text of a config only once.

It runs yapf on the whole config again for the log, the copy in the work
directory, the visualizer, the message hub and each checkpoint. That takes
seconds, most of the startup time of a small training run.
"""
import sys
from functools import lru_cache, wraps
from typing import Callable, Tuple

from yapf.yapflib import yapf_api


def _remember(format_code: Callable) -> Callable:
    """Wrap ``FormatCode`` in a cache of its last texts."""

    @lru_cache(maxsize=4)
    def cached(text: str, style: tuple, options: tuple) -> Tuple[str, bool]:
        return format_code(text, style_config=dict(style), **dict(options))

    @wraps(format_code)
    def remembered(text, *args, style_config=None, **options):
        if args or not isinstance(style_config, dict):
            # Not MMEngine's way of calling it.
            return format_code(
                text, *args, style_config=style_config, **options)
        return cached(text, tuple(style_config.items()),
                      tuple(options.items()))

    return remembered


def install() -> None:
    """Make MMEngine cache formatted texts."""
    # The two stacks look up the function in different places.
    remembered = _remember(yapf_api.FormatCode)
    yapf_api.FormatCode = remembered
    module = sys.modules['mmengine.config.config']
    if hasattr(module, 'FormatCode'):
        module.FormatCode = remembered
