# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from contextlib import contextmanager
from typing import Any, Iterator

from ..stages import Phase
from .build_optimizer import build_optimizer, build_schedulers


def check_optimizers(loop) -> None:
    """Build every phase's optimizer and schedulers once, to fail before
    training.

    Raises:
        ValueError: An optimizer or a schedule cannot be built; names the
            phase.
    """
    runner = loop.runner
    kept = runner.optim_wrapper, runner.logger.level
    # The phases log their parameter groups when they begin.
    runner.logger.setLevel(logging.WARNING)
    try:
        for phase in loop.phases:
            loop.distiller.set_trainable(phase)
            with _naming(phase, 'optim_wrapper', phase.optim_wrapper):
                runner.optim_wrapper = build_optimizer(loop.distiller,
                                                       phase.optim_wrapper)
            with _naming(phase, 'param_scheduler', phase.param_scheduler):
                build_schedulers(runner, phase)
    finally:
        runner.optim_wrapper = kept[0]
        runner.logger.setLevel(kept[1])


@contextmanager
def _naming(phase: Phase, key: str, settings: Any) -> Iterator[None]:
    """Name the phase and the settings in an error."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f'train_cfg: {key} of the phase {phase.name!r} cannot be built '
            f'from {settings}: {error}') from error
