# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import fnmatch
import itertools
from dataclasses import replace
from typing import Callable, Dict, List, Optional, Sequence, Union

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from ..check_keys import check_keys, did_you_mean
from ..compat.class_name import class_name
from .fit_schedule import RunLength, fit_schedule, shorten_warmup
from .partition import HEAD
from .phase import Phase
from .schedule import FOR_HEAD, plan_mimic_phases

#: Settings whose other keys depend on their type.
_TYPED = ('optimizer', 'dataset', 'sampler', 'batch_sampler', 'collate_fn')
_SETTINGS = ('max_epochs', 'max_iters', 'dataloader', 'optim_wrapper',
             'param_scheduler', 'cached_passes')


def plan_phases(base: Dict[str, Union[dict, list, None]],
                stages: Sequence[str],
                in_head: Sequence[str],
                mimic: dict,
                head: dict,
                finetune: Optional[dict] = None,
                phases: Optional[Dict[str, dict]] = None,
                schedule: Union[str, Sequence[str]] = 'sequential',
                iters_of_pass: Callable[[Phase], int] = lambda phase: 1
                ) -> List[Phase]:
    """Turn the ``train_cfg`` of a config into phases.

    Args:
        base (dict): ``dataloader``, ``optim_wrapper`` and ``param_scheduler``
            of the config, which hold in all phases. A phase's own
            ``dataloader`` and ``optim_wrapper`` are merged into them; what
            has another ``type`` replaces the config's, as does its
            ``param_scheduler``. Without one of its own, a phase runs through
            the config's in its own length, see :func:`fit_schedule`.
        stages (Sequence[str]): Names of the stages, in order.
        in_head (Sequence[str]): Those of them whose tap lies in the head.
        mimic (dict): Settings of each mimic phase, see
            :class:`StageByStageTrainLoop`.
        head (dict): Settings of the head phase.
        finetune (dict, optional): Settings of the last phase. Defaults to
            none, without which there is none.
        phases (dict[str, dict], optional): Settings of single phases, or, with
            wildcards, of several (``'mimic/sequential/*'``). Where two names
            match, the later one prevails, and a full name over a pattern.
        schedule (str or Sequence[str]): See :func:`plan_mimic_phases`; of
            several, one follows the other. Defaults to ``'sequential'``.
        iters_of_pass (callable): The iterations that one pass over a phase's
            data takes. Defaults to 1.

    Returns:
        list[Phase]: The phases that are not empty, with their positions.

    Raises:
        ValueError: A setting is unknown, missing or invalid.

    Example:
        >>> plan_phases(
        >>>     dict(dataloader={}, optim_wrapper={}, param_scheduler=None),
        >>>     ['layer1', 'layer2'], [],
        >>>     mimic=dict(max_epochs=2), head=dict(max_iters=500))
        [Phase(name='mimic/layer1', ...), Phase(name='mimic/layer2', ...),
         Phase(name='head', ...)]
    """
    ordered = _order(schedule, stages, in_head)
    planned = [*ordered, Phase('head', (), (HEAD, ))]
    if finetune is not None:
        planned.append(Phase('finetune', (), (*stages, HEAD)))
    shared = dict(mimic=mimic, head=head, finetune=finetune)
    settings = {phase.name: shared[phase.kind] for phase in planned}
    # Sorted so that full names come after patterns.
    for pattern, own in sorted((phases or {}).items(),
                               key=lambda item: item[0] in settings):
        names = fnmatch.filter(settings, pattern)
        if not names:
            raise ValueError(
                f'train_cfg.phases: there is no phase {pattern!r}, only '
                f'{", ".join(settings)}.{did_you_mean(pattern, settings)}')
        settings.update((n, _override(settings[n], own)) for n in names)
    planned = [
        _with_settings(phase, base, settings[phase.name]) for phase in planned
    ]
    planned = [p for p in planned if p.max_epochs or p.max_iters]
    if not planned:
        raise ValueError('train_cfg: every phase has max_epochs=0.')
    if any(phase.is_mimic for phase in planned):
        _check_taps_in_head(ordered, in_head, schedule)
    planned = _lay_out(planned, iters_of_pass)
    return _share_caches(
        _fit_schedules(planned, base['param_scheduler'], iters_of_pass))


def _order(schedule: Union[str, Sequence[str]], stages: Sequence[str],
           in_head: Sequence[str]) -> List[Phase]:
    """The mimic phases of one schedule, or of several in a row. Of these, the
    last that can train for a tap in the head compares it."""
    schedules = [schedule] if isinstance(schedule, str) else schedule
    for_head = max([k for k, s in enumerate(schedules) if s in FOR_HEAD],
                   default=None)
    backbone = [name for name in stages if name not in in_head]
    phases: List[Phase] = []
    for k, each in enumerate(schedules):
        planned = plan_mimic_phases(
            each, stages if k == for_head else backbone or stages, in_head)
        if len(schedules) > 1 and len(planned) > 1:
            # Two schedules of a list may name a phase for the same stage.
            planned = [
                replace(p, name=p.name.replace('mimic/', f'mimic/{each}/'))
                for p in planned
            ]
        phases += planned
    return phases


def _check_taps_in_head(phases: Sequence[Phase], in_head: Sequence[str],
                        schedule: Union[str, Sequence[str]]) -> None:
    """Refuse mimic phases none of which compares a tap in the head."""
    schedules = [schedule] if isinstance(schedule, str) else schedule
    for name in in_head:
        if not any(name in phase.taps for phase in phases):
            raise ValueError(
                f'schedule={schedule!r} leaves out the tap {name!r}, which '
                'lies in the head. Remove it from `stages`, or compare it in '
                f"a separate phase: schedule={[*schedules, 'last']}.")


def _override(shared: dict, own: dict) -> dict:
    """A single phase's settings on top of the shared ones."""
    length = {'max_epochs', 'max_iters'}
    if length & set(own):
        shared = {k: v for k, v in shared.items() if k not in length}
    return {**shared, **own}


def _with_settings(phase: Phase, base: Dict[str, Union[dict, list, None]],
                   settings: dict) -> Phase:
    where = f'train_cfg: the phase {phase.name!r}'
    check_keys(where, settings, _SETTINGS)
    given = [
        key for key in ('max_epochs', 'max_iters')
        if settings.get(key) is not None
    ]
    if len(given) != 1:
        raise ValueError(
            f'{where} needs max_epochs or max_iters, one of the two; it has '
            f'{", ".join(settings) or "nothing"}. If one is the base '
            "config's, set it to None.")
    length = settings[given[0]]
    if int(length) != length or length < 0:
        raise ValueError(
            f'train_cfg: {given[0]} of the phase {phase.name!r} must be a '
            f'whole number of {given[0][len("max_"):]}, not {length}.')
    passes = settings.get('cached_passes', 0)
    if int(passes) != passes or passes < 0:
        raise ValueError(
            f'train_cfg: cached_passes={passes!r} of the phase '
            f'{phase.name!r} must be a whole number, that of passes over the '
            'training set to cache, or 0 to cache none.')
    return replace(
        phase,
        by_epoch=given == ['max_epochs'],
        dataloader=_merge(base['dataloader'], settings.get('dataloader')),
        optim_wrapper=_merge(base['optim_wrapper'],
                             settings.get('optim_wrapper')),
        param_scheduler=settings.get('param_scheduler',
                                     base['param_scheduler']),
        cached_passes=int(passes),
        **{given[0]: int(length)})


def _merge(base: Optional[dict], own: Optional[dict]) -> Optional[dict]:
    if not own:
        return base
    if not isinstance(base, dict):
        return own  # the config's was built by the caller
    merged = ConfigDict(copy.deepcopy(base))
    own = copy.deepcopy(own)
    for key in _TYPED:
        if 'type' in own.get(key, {}) and key in merged and (
                _type_of(own[key]) != _type_of(merged[key])):
            # The base's other keys are of another type.
            del merged[key]
    merged.merge(own)
    return merged


def _type_of(cfg: dict) -> str:
    """The same for a plain, a scoped, a dumped and a lazy config."""
    scope = DefaultScope.get_current_instance()
    return class_name(
        cfg.get('type', ''), None if scope is None else scope.scope_name)


def _lay_out(phases: Sequence[Phase],
             iters_of_pass: Callable[[Phase], int]) -> List[Phase]:
    """Place phases one after the other."""
    epochs = iters = passes = 0
    placed = []
    for phase in phases:
        length = iters_of_pass(phase)
        if phase.by_epoch:
            epoch_length, max_epochs = length, phase.max_epochs
        else:
            epoch_length, max_epochs = phase.max_iters, 1
        placed.append(
            replace(
                phase,
                max_epochs=max_epochs,
                max_iters=max_epochs * epoch_length,
                epoch_length=epoch_length,
                begin=epochs,
                begin_iter=iters,
                begin_pass=passes))
        epochs, iters = placed[-1].end, placed[-1].end_iter
        passes += -(-placed[-1].max_iters // length)
    return placed


def _fit_schedules(phases: Sequence[Phase],
                   shared: Union[dict, list, None],
                   iters_of_pass: Callable[[Phase], int]) -> List[Phase]:
    """Fit the config's schedule to each phase that has none of its own."""
    passes = [iters_of_pass(phase) for phase in phases]
    run = RunLength(
        sum(phase.max_iters / length
            for phase, length in zip(phases, passes)),
        sum(phase.max_iters for phase in phases))
    fitted = []
    for phase, length in zip(phases, passes):
        schedule = phase.param_scheduler
        listed = [schedule] if isinstance(schedule, dict) else schedule or []
        note = ''
        # Others were built by the caller, or are for several optimizers.
        if all(isinstance(s, dict) and 'type' in s for s in listed):
            listed, note = (
                fit_schedule(listed, phase, length, run)
                if schedule is shared else shorten_warmup(listed, phase))
        fitted.append(
            replace(phase, param_scheduler=listed, schedule_note=note
                    ) if note else phase)
    return fitted


def _share_caches(phases: List[Phase]) -> List[Phase]:
    """Let consecutive mimic phases with the same data and number of cached
    passes share their passes and features."""

    def shares(phase: Phase):
        return phase.is_mimic and phase.cached_passes, phase.dataloader

    shared = []
    for (passes, _), group in itertools.groupby(phases, shares):
        group = list(group)
        taps = tuple(dict.fromkeys(tap for p in group for tap in p.taps))
        shared += [
            replace(p, cache_begin=group[0].begin_pass, cached_taps=taps)
            if passes else replace(p, cache_begin=p.begin_pass) for p in group
        ]
    return shared
