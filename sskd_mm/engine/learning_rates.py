# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Optional

import torch
from mmengine.registry import PARAM_SCHEDULERS

from ..stages import Phase
from ..stages.fit_schedule import move_scheduler
from .build_optimizer import schedulers_of

#: A longer phase is run through in so many steps, its schedule shrunk alike.
STEPS = 5000


def learning_rates(phase: Phase, factor: float = 1.) -> Optional[List[float]]:
    """The learning rate of a phase as it goes on.

    The schedulers are those that train, on an optimizer without a network.
    Groups of parameters with a rate of their own are left out of account.

    Args:
        phase (Phase): A planned phase.
        factor (float): By which ``auto_scale_lr`` multiplies the learning
            rate. Defaults to 1.

    Returns:
        list[float] or None: The learning rate of each iteration, or of
        :data:`STEPS` that are evenly spread. None if the config of the
        optimizer names none.

    Example:
        >>> rates = learning_rates(phase)
        >>> rates[0], rates[len(rates) // 2], rates[-1]
        (2e-05, 0.02, 0.0002)
    """
    settings = phase.optim_wrapper.get('optimizer', {})
    if settings.get('lr') is None:
        return None
    length = phase.epoch_length
    if phase.max_iters <= STEPS:
        return _run(phase, schedulers_of(phase), factor, length)
    # What is shrunk may have lost its beginning.
    first = _run(phase, schedulers_of(phase), factor, length, steps=1)
    short = max(1, STEPS // phase.max_epochs)
    shrunk = [
        s if s.get('by_epoch', True) else move_scheduler(
            s, lambda step: step * short / length)
        for s in schedulers_of(phase)
    ]
    return first + _run(phase, [s for s in shrunk if s], factor, short)[1:]


def _run(phase: Phase,
         schedulers: List[dict],
         factor: float,
         epoch_length: int,
         steps: Optional[int] = None) -> List[float]:
    """The learning rates of a phase with epochs of this length, or of its
    first steps."""
    # What schedulers of momentum or decay ask for, unless it is given.
    settings = dict(momentum=0.9, betas=(0.9, 0.999), weight_decay=0.)
    settings.update(phase.optim_wrapper['optimizer'])
    settings['lr'] *= factor
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for defaults in (optimizer.defaults, *optimizer.param_groups):
        defaults.update(settings)
    built = [
        PARAM_SCHEDULERS.build(
            scheduler,
            default_args=dict(
                optimizer=optimizer, epoch_length=epoch_length))
        for scheduler in schedulers
    ]
    optimizer.step()  # Without a gradient; schedulers warn if it never was.
    rates = []
    for done in range(1, 1 + (steps or epoch_length * phase.max_epochs)):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in built:
            if not scheduler.by_epoch or done % epoch_length == 0:
                scheduler.step()
    return rates
