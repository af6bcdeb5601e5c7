# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Dict, List, Sequence

from ..stages import Phase


def log_schedules(phases: Sequence[Phase], logger: logging.Logger) -> None:
    """Say once how the config's schedule was fitted to the phases.

    Args:
        phases (Sequence[Phase]): All phases of a run.
        logger (Logger): The runner's. It gets a warning of what could not be
            fitted.
    """
    names: Dict[str, List[str]] = {}
    for phase in phases:
        if phase.schedule_note:
            names.setdefault(phase.schedule_note, []).append(phase.name)
    for note, fitted in names.items():
        level = logging.WARNING if note.startswith('not') else logging.INFO
        logger.log(
            level, f'param_scheduler in {", ".join(fitted)}: {note}. To set '
            'it yourself, give the phase a param_scheduler of its own.')
