# Copyright (c) sskd_mm authors. All rights reserved.
import io
import logging
from contextlib import contextmanager, redirect_stdout
from typing import Iterator

from mmengine.logging import MMLogger


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the output of libraries.

    pycocotools prints while reading annotations, and a table per evaluated
    network. Warnings are still logged.

    Example:
        >>> with quiet():
        >>>     metrics = evaluator.evaluate(len(dataset))
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
