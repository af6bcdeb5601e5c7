# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Any, Callable

from mmengine.logging import print_log


class Missing(str):
    """The reason why something is missing from a report."""


def attempt(function: Callable, *args: Any) -> Any:
    """Call a function that makes an optional part of a report.

    Args:
        function (callable): The function.
        *args: Its arguments.

    Returns:
        Its result, or on any error a :class:`Missing`, with a warning.
    """
    try:
        return function(*args)
    except Exception as error:
        print_log(
            f'Left out of the report: {type(error).__name__}: {error}',
            logger='current',
            level=logging.WARNING)
        return Missing(f'{type(error).__name__}: {error}')
