# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, List, Optional

from mmengine.dist import get_world_size
from rich.table import Table

from ..engine.learning_rates import learning_rates
from ..stages import Phase


def describe_schedule(runner, phase: Phase) -> Dict[str, Any]:
    """Describe the schedule of a phase.

    Args:
        runner (Runner): The run's Runner, for its ``auto_scale_lr``.
        phase (Phase): A planned phase.

    Returns:
        dict: ``iterations``, and whether its length was given in epochs
        (``by_epoch``); ``batch_size`` of each process; ``schedule``, the types
        of its schedulers; ``schedule_note``, how the config's was
        fitted to the phase; and ``learning_rates`` of the first iteration,
        the one in the middle and the last one, None if the optimizer's config
        names no learning rate.

    Example:
        >>> describe_schedule(runner, phase)['learning_rates']
        [2e-05, 0.02, 0.0002]
    """
    batch_size = _batch_size(phase.dataloader)
    auto = runner.auto_scale_lr or {}
    factor = 1.
    if auto.get('enable', False) and batch_size:
        factor = get_world_size() * batch_size / auto['base_batch_size']
    rates = learning_rates(phase, factor)
    schedule = phase.param_scheduler or []
    schedule = [schedule] if isinstance(schedule, dict) else schedule
    return dict(
        iterations=phase.max_iters,
        by_epoch=phase.by_epoch,
        batch_size=batch_size,
        schedule=[_type_name(s) for s in schedule],
        schedule_note=phase.schedule_note,
        learning_rates=rates and
        [rates[0], rates[len(rates) // 2], rates[-1]])


def schedule_table(phases: List[Dict[str, Any]]) -> Table:
    """Build a table from :func:`describe_schedule`."""
    table = Table(title='Learning rates')
    for column in ('phase', 'schedule', 'begin', 'middle', 'end'):
        table.add_column(
            column,
            justify='left' if column in ('phase', 'schedule') else 'right')
    for phase in phases:
        schedule = ', '.join(phase['schedule']) or 'constant'
        if phase['schedule_note']:
            schedule += f'\n({phase["schedule_note"]})'
        table.add_row(phase['name'], schedule,
                      *_rates(phase['learning_rates']))
    return table


def _rates(rates: Optional[List[float]]) -> List[str]:
    if rates is None:
        return ['unknown'] * 3
    # A cosine ends slightly above 0.
    return [
        '0' if rate < 1e-5 * max(rates) else f'{rate:.3g}' for rate in rates
    ]


def _batch_size(dataloader: Any) -> Optional[int]:
    if isinstance(dataloader, dict):
        return dataloader.get('batch_size')
    return getattr(dataloader, 'batch_size', None)


def _type_name(scheduler: Any) -> str:
    kind = scheduler.get('type') if isinstance(scheduler,
                                               dict) else type(scheduler)
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rpartition('.')[2]
