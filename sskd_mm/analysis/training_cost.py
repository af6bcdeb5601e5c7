# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import tempfile
from typing import Any, Dict, List

from mmengine.config import Config
from mmengine.runner import Runner

from .plan import count_step, describe_plan


def describe_cost(cfg: Config) -> List[Dict[str, Any]]:
    """What a training computes, without running it.

    Args:
        cfg (Config): Of a distillation or of a plain training. Data, teacher
            and its checkpoint have to be there.

    Returns:
        list[dict]: Of each phase, or of the one that a plain training is:
        ``name``, ``epochs``, ``gflops`` (of one training step, for each
        image: the student forward and backward, the teacher forward, as far
        as they run) and ``cached_passes`` (if not 0, the number of its
        epochs that compute this much; all others read what these have left).

    Example:
        >>> cfg = Config.fromfile('configs/sskd/cifar10/resnet56_resnet20.py')
        >>> describe_cost(cfg)
        [{'name': 'mimic/joint', 'epochs': 9, 'gflops': 0.5, ...}, ...]
    """
    cfg = copy.deepcopy(cfg)
    cfg.log_level = 'WARNING'
    cfg.load_from, cfg.resume = None, False
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = Runner.from_cfg(cfg)
        loop = runner.train_loop
        if hasattr(loop, 'phases'):
            return [
                dict(
                    name=phase.name,
                    epochs=phase.max_epochs,
                    gflops=described['gflops'],
                    cached_passes=min(phase.cached_passes, phase.max_epochs))
                for phase, described in zip(
                    loop.phases, describe_plan(loop)['phases'])
            ]
        sample = loop.dataloader.dataset[0]
        batch = loop.dataloader.collate_fn([sample, copy.deepcopy(sample)])
        return [
            dict(
                name='train',
                epochs=loop.max_epochs,
                gflops=count_step(runner.model, batch),
                cached_passes=0)
        ]


def spent(cost: List[Dict[str, Any]]) -> float:
    """GFLOPs of a whole training, for each image of the training set."""
    return sum((phase['cached_passes'] or phase['epochs']) * phase['gflops']
               for phase in cost)


def fit_epochs(cost: List[Dict[str, Any]], budget: float) -> Dict[str, int]:
    """Lengthen or shorten a training so that it computes as much as another.

    A head phase on cached features stays as it is, for its length costs
    nothing. The others keep their proportions as far as whole epochs allow,
    each takes one at least, and what is left goes to the one with the most
    computing. The budget is exceeded only by a training that exceeds it with
    one epoch a phase.

    Args:
        cost (list[dict]): What :func:`describe_cost` returns.
        budget (float): GFLOPs for each image of the training set.

    Returns:
        dict[str, int]: The epochs of each phase.
    """
    fixed = [phase for phase in cost if phase['cached_passes']]
    scaled = [dict(p) for p in cost if not p['cached_passes']]
    # A hair's breadth is a matter of rounding.
    budget = budget * (1 + 1e-9) - spent(fixed)
    factor = budget / spent(scaled)
    for phase in scaled:
        phase['epochs'] = max(1, int(phase['epochs'] * factor))
    longest = max(scaled, key=lambda phase: phase['epochs'] * phase['gflops'])
    rest = budget - spent(scaled)
    longest['epochs'] = max(
        1, longest['epochs'] + int(rest // longest['gflops']))
    return {phase['name']: phase['epochs'] for phase in fixed + scaled}
