# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from itertools import compress
from typing import Any, List

from mmengine.optim import OptimWrapper, build_optim_wrapper

from ..distillers import StageByStageDistiller
from ..stages import Phase


def build_optimizer(distiller: StageByStageDistiller,
                    cfg: dict) -> OptimWrapper:
    """Build the optimizer of the phase that a distiller is in.

    It is built on the student, so that constructors that match parameter
    names (layer-wise learning-rate decay, ``custom_keys``) see those of the
    plain model. Adapters, and anything else that trains beside the student,
    form a group with the config's own learning rate. Frozen parameters are in
    no group.

    Args:
        distiller (StageByStageDistiller): It has entered the phase.
        cfg (dict): Config of the optimizer wrapper.

    Returns:
        OptimWrapper: The wrapper with its optimizer.

    Example:
        >>> build_optimizer(distiller, dict(
        >>>     type='OptimWrapper',
        >>>     optimizer=dict(type='AdamW', lr=1e-4),
        >>>     constructor='LayerDecayOptimizerConstructor',
        >>>     paramwise_cfg=dict(num_layers=12, decay_rate=0.7)))
    """
    cfg = copy.deepcopy(cfg)
    cfg.setdefault('type', 'OptimWrapper')
    wrapper = build_optim_wrapper(distiller.student, cfg)
    optimizer = wrapper.optimizer
    groups = optimizer.param_groups
    for group in groups:
        _leave_out_frozen(group)
    groups[:] = [group for group in groups if group['params']]
    own = set(distiller.student.parameters())
    beside = {
        name: p
        for name, p in distiller.named_parameters()
        if p.requires_grad and p not in own
    }
    if beside:
        group = dict(params=list(beside.values()))
        if groups and 'param_names' in groups[0]:
            # torch requires names in all groups or in none.
            group['param_names'] = list(beside)
        optimizer.add_param_group(group)
    return wrapper


def build_schedulers(runner, phase: Phase) -> Any:
    """Build the learning-rate schedulers of a phase.

    Args:
        runner (Runner): With the optimizer of the phase.
        phase (Phase): The phase, with which schedulers end by default.

    Returns:
        list or None: What ``runner.param_schedulers`` is to be.
    """
    if phase.param_scheduler is None:
        return None
    return runner.build_param_scheduler(schedulers_of(phase))


def schedulers_of(phase: Phase) -> List[dict]:
    """Configs of a phase's schedulers, each with an ``end``."""
    schedulers = copy.deepcopy(phase.param_scheduler) or []
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    for scheduler in schedulers:
        scheduler.setdefault(
            'end', phase.max_epochs
            if scheduler.get('by_epoch', True) else phase.max_iters)
    return schedulers


def _leave_out_frozen(group: dict) -> None:
    """Drop frozen parameters, which constructors include."""
    trains = [p.requires_grad for p in group['params']]
    # Some constructors also list the names.
    for key in {'params', 'param_names'} & group.keys():
        group[key] = list(compress(group[key], trains))
