# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Iterable, Iterator, Tuple

from mmengine.hooks import CheckpointHook, EarlyStoppingHook

from ..stages import Phase


def check_monitored(hooks: Iterable[Any], phases: Iterable[Phase],
                    metrics: Iterable[str]) -> None:
    """Check that the validation returns every monitored metric.

    It is called with the teacher's metrics, which have the names of the
    student's; the student's first validation may come hours later.

    Raises:
        ValueError: ``save_best``, a strict ``EarlyStoppingHook`` or a
            plateau schedule monitors another one.
    """
    names = list(metrics)
    for place, key in (*_of_hooks(hooks), *_of_phases(phases)):
        if key not in names:
            raise ValueError(
                f'{place} is {key!r}, but the validation returns '
                f'{", ".join(names)}. Use one of these.')


def _of_hooks(hooks: Iterable[Any]) -> Iterator[Tuple[str, str]]:
    for hook in hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            for key in hook.key_indicators:
                if key != 'auto':
                    yield 'default_hooks.checkpoint.save_best', key
        elif isinstance(hook, EarlyStoppingHook) and hook.strict:
            yield f'monitor of {type(hook).__name__}', hook.monitor


def _of_phases(phases: Iterable[Phase]) -> Iterator[Tuple[str, str]]:
    for phase in phases:
        schedulers = phase.param_scheduler or []
        for each in [schedulers] if isinstance(schedulers, dict) \
                else schedulers:
            name = getattr(each['type'], '__name__', each['type'])
            if 'ReduceOnPlateau' in name:
                yield (f'monitor of {name} in param_scheduler',
                       each.get('monitor', 'loss'))
