# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from typing import Any, Dict, List, Optional

from mmengine.config import Config
from mmengine.runner import Runner

from .dry_run import dry_runner
from .plan import count_step, describe_plan


def describe_cost(cfg: Config) -> List[Dict[str, Any]]:
    """Compute the cost of a training run without running it.

    Args:
        cfg (Config): A distillation or plain training config. Data, teacher
            and its checkpoint must exist.

    Returns:
        list[dict]: For each phase (plain training is a single phase):
        ``name``, ``epochs``, ``gflops`` (per image of a training step:
        student forward and backward and teacher forward, as far as they run),
        ``cached_passes``, ``gflops_cached`` (of the cheaper steps after that
        many epochs), and ``cache_begin``, which identifies phases that share
        these passes.

    Example:
        >>> cfg = Config.fromfile(
        >>>     'configs/sskd/cifar10/resnet56_resnet20_cifar10.py')
        >>> describe_cost(cfg)
        [{'name': 'mimic/joint', 'epochs': 9, 'gflops': 0.5, ...}, ...]
    """
    with dry_runner(cfg) as runner:
        return count_cost(runner)


def count_cost(runner: Runner) -> List[Dict[str, Any]]:
    """Do the same for a Runner that will not be trained."""
    loop = runner.train_loop
    if hasattr(loop, 'phases'):
        keys = ('name', 'epochs', 'gflops', 'cached_passes', 'cache_begin',
                'gflops_cached')
        return [{key: phase[key]
                 for key in keys} for phase in describe_plan(loop)['phases']]
    return [
        dict(
            name='train',
            epochs=loop.max_epochs,
            gflops=count_plain_step(runner),
            cached_passes=0,
            cache_begin=0,
            gflops_cached=0)
    ]


def count_plain_step(runner: Runner) -> Optional[float]:
    """Count the FLOPs of a step of plain training, see :func:`count_step`."""
    loader = runner.train_loop.dataloader
    sample = loader.dataset[0]
    batch = loader.collate_fn([sample, copy.deepcopy(sample)])
    return count_step(runner.model, batch)


def spent(cost: List[Dict[str, Any]]) -> Optional[float]:
    """Sum the GFLOPs of a whole run, per image of the training set; None if
    those of a phase are unknown."""
    if any(None in (p['gflops'], p['gflops_cached']) for p in cost):
        return None
    total = 0
    computed: Dict[int, int] = {}
    for phase in cost:
        full = phase['epochs']
        if phase['cached_passes']:
            done = computed.get(phase['cache_begin'], 0)
            full = max(0, min(full, phase['cached_passes'] - done))
            computed[phase['cache_begin']] = done + full
        total += full * phase['gflops']
        total += (phase['epochs'] - full) * phase['gflops_cached']
    return total


def fit_epochs(cost: List[Dict[str, Any]], budget: float) -> Dict[str, int]:
    """Lengthen or shorten a run to a compute budget.

    The phases keep their proportions as far as whole epochs allow, with at
    least one epoch each. Of what that leaves over, the phases that got least
    for their share, or come last, have an epoch more. A head phase on cached
    features is not changed, since its length costs nothing. The budget is
    only exceeded if one epoch per phase exceeds it.

    Args:
        cost (list[dict]): The result of :func:`describe_cost`.
        budget (float): GFLOPs per image of the training set.

    Returns:
        dict[str, int]: The epochs of each phase.

    Raises:
        ValueError: The FLOPs of the run or the budget are unknown.
    """
    if budget is None or spent(cost) is None:
        raise ValueError(
            'Compute cannot be made equal, because the FLOPs of a phase are '
            'unknown; a warning above says why. '
            'Leave equal_compute out of the study and set max_epochs.')

    shares = {p['name']: p['epochs'] for p in cost if not _is_free(p)}

    def scaled(longest: int) -> Dict[str, int]:
        factor = longest / max(shares.values())
        return {
            name: max(1, round(share * factor))
            for name, share in shares.items()
        }

    def fits(epochs: Dict[str, int]) -> bool:
        lengths = [{
            **phase, 'epochs': epochs.get(phase['name'], phase['epochs'])
        } for phase in cost]
        # Tolerate rounding.
        return spent(lengths) <= budget * (1 + 1e-9)

    longest = 1
    while fits(scaled(longest + 1)):
        longest += 1
    epochs = scaled(longest)
    for name in sorted(reversed(shares), key=lambda n: epochs[n] / shares[n]):
        longer = {**epochs, name: epochs[name] + 1}
        if fits(longer):
            epochs = longer
    return {p['name']: epochs.get(p['name'], p['epochs']) for p in cost}


def _is_free(phase: Dict[str, Any]) -> bool:
    return phase['name'] == 'head' and phase['cached_passes'] > 0
