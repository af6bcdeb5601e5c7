# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from contextlib import contextmanager
from typing import Any, Iterator

from ..stages import Phase
from .build_optimizer import build_optimizer, build_schedulers


def check_optimizers(loop) -> None:
    """Build what each phase builds when it begins, hours from now.

    Args:
        loop (StageByStageTrainLoop): It has not entered a phase.

    Raises:
        ValueError: An optimizer or a learning-rate schedule cannot be built;
            it names the phase.
    """
    runner = loop.runner
    kept = runner.optim_wrapper, runner.logger.level
    # The phases themselves will list their groups of parameters.
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
    """Say of an error which phase's settings it is about."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f'train_cfg: {key} of the phase {phase.name!r} cannot be built '
            f'from {settings}: {error}') from error
