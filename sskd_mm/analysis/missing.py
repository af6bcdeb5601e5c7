# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Any, Callable

from mmengine.logging import print_log


class Missing(str):
    """Why something is not shown in a report."""


def attempt(function: Callable, *args: Any) -> Any:
    """Call a function whose part of a report can be left out.

    Args:
        function (callable): What makes the part.
        *args: Its arguments.

    Returns:
        What it returns, or of any error a :class:`Missing`, with a warning.
    """
    try:
        return function(*args)
    except Exception as error:
        print_log(
            f'Left out of the report: {type(error).__name__}: {error}',
            logger='current',
            level=logging.WARNING)
        return Missing(f'{type(error).__name__}: {error}')
