# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from mmengine.registry import DefaultScope

from ..compat.class_name import class_name
from .phase import Phase

#: The share of a phase that a warm-up takes at most once it is shortened.
WARMUP = 0.1

#: Arguments of MMEngine's schedulers that count steps from ``begin`` on.
_SPANS = ('milestones', 'T_max', 'total_steps', 'periods')
_WARMUPS = ('LinearLR', 'ConstantLR', 'QuadraticWarmupLR')

Scheduler = Dict[str, Any]


class RunLength(NamedTuple):
    """The length of all phases of a run.

    Attributes:
        epochs (float): In passes over the training data.
        iters (int): In iterations.
    """

    epochs: float
    iters: int


def fit_schedule(schedule: List[Scheduler], phase: Phase, epoch_length: int,
                 run: RunLength) -> Tuple[List[Scheduler], str]:
    """Fit the schedule of a whole training to a phase.

    The schedule of a config, such as ``milestones=[8, 11], end=12``, is made
    for a training of a certain length: the last ``end`` that it names, or the
    length of all phases where a scheduler names none. Each phase runs through
    all of it in its own length, counted in iterations. A warm-up that is
    counted in iterations keeps them, up to a tenth of the phase. A schedule
    that names no length (``CosineAnnealingLR`` without ``T_max`` and ``end``)
    fits any phase as it is; so do schedulers that wait for a metric
    (``ReduceOnPlateauLR``).

    Args:
        schedule (list[dict]): The config's ``param_scheduler``.
        phase (Phase): Its length is known.
        epoch_length (int): Iterations of a pass over the phase's data.
        run (RunLength): The length of all phases.

    Returns:
        tuple: The schedule of the phase, and what was done in words: ``''``
        if nothing. It begins with ``'not scaled'`` if the schedule goes
        beyond the run and does not say how long it is.

    Example:
        >>> # 4 epochs of 300 iterations
        >>> fit_schedule(
        >>>     [dict(type='MultiStepLR', milestones=[8, 11], end=12)],
        >>>     phase, 300, run)
        ([{'type': 'MultiStepLR', 'milestones': [800, 1100], 'end': 1200,
           'by_epoch': False}], 'scaled from 12 epochs')
    """
    warmups = [s for s in schedule if _is_warmup(s)]
    main = [
        s for s in schedule
        if not _is_warmup(s) and not _type_of(s).startswith('ReduceOnPlateau')
    ]
    in_epochs = [s for s in main if s.get('by_epoch', True)]
    main = in_epochs or main
    if in_epochs:
        unit, total, length = ('epochs', run.epochs,
                               phase.max_iters / epoch_length)
    else:
        unit, total, length = 'iterations', run.iters, phase.max_iters
    whole = _length(main, total)
    if not any(map(_names_length, main)) or (
            whole == length and (phase.by_epoch or not in_epochs)):
        return shorten_warmup(schedule, phase)
    if whole is None:
        return schedule, (
            'not scaled, since it names no end and goes beyond the '
            f'{total:,.4g} {unit} of all phases')
    before = max([s['end'] for s in warmups], default=0)
    after = _shortened(before, phase.max_iters)
    # Epochs are counted beside a warm-up in iterations, not behind it.
    start = (0, 0) if in_epochs else (before, after)

    def place(step: float) -> float:
        if step < start[0]:
            return place_warmup(step)
        return start[1] + (step - start[0]) * (phase.max_iters - start[1]) / (
            whole - start[0])

    def place_warmup(step: float) -> float:
        return step * after / before

    fitted = []
    for each in schedule:
        if any(each is s for s in main):
            each = move_scheduler(each, place)
        elif any(each is s for s in warmups):
            each = move_scheduler(each, place_warmup)
        fitted += [each] if each else []
    note = f'scaled from {whole:,.6g} {unit}'
    return fitted, ', '.join([note, *_cut(before, after)])


def shorten_warmup(schedule: List[Scheduler],
                   phase: Phase) -> Tuple[List[Scheduler], str]:
    """Shorten a warm-up that does not end within a phase to a tenth of it.

    Args:
        schedule (list[dict]): The phase's.
        phase (Phase): Its length is known.

    Returns:
        tuple: As of :func:`fit_schedule`.
    """
    shortened, cut = [], []
    for each in schedule:
        if _is_warmup(each) and each['end'] > phase.max_iters:
            before, after = each['end'], _shortened(each['end'],
                                                    phase.max_iters)
            cut = _cut(before, after)
            each = move_scheduler(each, lambda step: step * after / before)
        shortened += [each] if each else []
    return (shortened, cut[0]) if cut else (schedule, '')


def move_scheduler(scheduler: Scheduler,
                   place: Callable[[float], float]) -> Optional[Scheduler]:
    """A scheduler whose steps are iterations of another training.

    Args:
        scheduler (dict): Config of a scheduler of MMEngine, mmdet or
            mmpretrain.
        place (callable): The iteration that one of its steps becomes.

    Returns:
        dict or None: None if it would have less than two iterations: in one
        there is nothing to schedule, and a warm-up would never end.
    """
    moved = scheduler.copy()
    begin = moved.get('begin', 0)

    def span(steps: float) -> float:
        return place(begin + steps) - place(begin)

    for key in _SPANS:
        value = moved.get(key)
        if isinstance(value, (list, tuple)):
            moved[key] = [max(1, round(span(x))) for x in value]
        elif value is not None:
            moved[key] = max(1, round(span(value)))
    if 'step_size' in moved:
        exact = span(moved['step_size'])
        moved['step_size'] = max(1, round(exact))
        moved['gamma'] = moved.get('gamma', 0.1)**(moved['step_size'] / exact)
    elif 'gamma' in moved and 'milestones' not in moved:
        # An ExponentialLR, which decays with every step.
        moved['gamma'] **= 1 / span(1)
    for key in ('begin', 'end'):
        if moved.get(key) is not None:
            moved[key] = round(place(moved[key]))
    if 'end' in moved and moved['end'] - moved.get('begin', 0) < 2:
        return None
    moved['by_epoch'] = False
    moved.pop('convert_to_iter_based', None)
    return moved


def _length(schedule: List[Scheduler], total: float) -> Optional[float]:
    """What a schedule is made for; None if that cannot be told."""
    ends = [_end(s) for s in schedule]
    if None not in ends:
        return max(ends, default=None)
    last = max(_last(s) for s in schedule)
    return total if last <= total else None


def _end(scheduler: Scheduler) -> Optional[int]:
    if scheduler.get('end') is not None:
        return scheduler['end']
    begin = scheduler.get('begin', 0)
    for key in ('T_max', 'total_steps'):
        if scheduler.get(key) is not None:
            return begin + scheduler[key]
    return begin + sum(scheduler['periods']) if scheduler.get(
        'periods') else None


def _last(scheduler: Scheduler) -> int:
    """The last step that a scheduler names."""
    steps = max(scheduler.get('milestones', ()), default=0)
    return _end(scheduler) or scheduler.get('begin', 0) + steps


def _names_length(scheduler: Scheduler) -> bool:
    return any(
        scheduler.get(key)
        for key in ('begin', 'end', 'step_size', 'gamma', *_SPANS))


def _is_warmup(scheduler: Scheduler) -> bool:
    """Whether it is a warm-up that is counted in iterations."""
    return (_type_of(scheduler) in _WARMUPS
            and not scheduler.get('by_epoch', True)
            and not scheduler.get('begin') and bool(scheduler.get('end'))
            and scheduler.get('start_factor', 1 / 3) < scheduler.get(
                'end_factor', 1.))


def _shortened(warmup: int, iters: int) -> int:
    """Not to one iteration: MMEngine's ``LinearLR`` would never end."""
    return min(warmup, max(2, int(iters * WARMUP))) if iters > 1 else 0


def _cut(before: int, after: int) -> List[str]:
    if before == after:
        return []
    return [f'warm-up cut from {before:,} to {after:,} iterations']


def _type_of(scheduler: Scheduler) -> str:
    scope = DefaultScope.get_current_instance()
    name = class_name(scheduler.get('type', ''),
                      None if scope is None else scope.scope_name)
    return name.rpartition('.')[2]
