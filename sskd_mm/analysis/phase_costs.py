# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from typing import List, NamedTuple, Optional, Sequence

from mmengine.config import Config

from .dry_run import dry_runner
from .plan import count_phase
from .quiet import quiet
from .training_cost import count_plain_step


class PhaseCost(NamedTuple):
    """The compute of a training phase, in one process.

    Attributes:
        name (str): The phase's name.
        iterations (int): Its length.
        computed (int): Iterations in which every network runs. The others
            read cached features.
        gflops (float): GFLOPs of one of these, for its whole batch.
        gflops_cached (float): GFLOPs of one of the others.
    """

    name: str
    iterations: int
    computed: int
    gflops: float
    gflops_cached: float = 0.

    def spent(self, done: int) -> float:
        """Compute the GFLOPs of its first iterations.

        Args:
            done (int): Number of iterations.

        Example:
            >>> PhaseCost('head', 10, 2, gflops=5., gflops_cached=1.).spent(4)
            12.0
        """
        done = min(max(done, 0), self.iterations)
        computed = min(done, self.computed)
        return computed * self.gflops + (done - computed) * self.gflops_cached


def spent_at(costs: Sequence[PhaseCost], iteration: int) -> float:
    """Compute the GFLOPs of a run's first iterations, over all phases.

    Args:
        costs (Sequence[PhaseCost]): Costs of its phases.
        iteration (int): Number of iterations done.
    """
    total = 0.
    for cost in costs:
        total += cost.spent(iteration)
        iteration -= cost.iterations
    return total


def count_phases(loop, batch: dict) -> Optional[List[PhaseCost]]:
    """Count the FLOPs of each phase of a loop without changing the loop.

    A copy of the distiller, sharing the teachers' networks, enters each
    phase.

    Args:
        loop (StageByStageTrainLoop): A loop before training.
        batch (dict): A collated batch of annotated training images; two are
            enough.

    Returns:
        list[PhaseCost] or None: None if FLOPs are unknown, see
        :func:`count_flops`.
    """
    distiller = copy.deepcopy(loop.distiller)
    # Entering the head phase releases the teachers, so the copy gets its own
    # list.
    distiller.teachers = copy.copy(loop.distiller.teachers)
    costs = []
    for phase in loop.phases:
        distiller.enter_phase(phase)
        counts = count_phase(distiller, phase, batch)
        if None in counts.values():
            return None
        images = (phase.dataloader or {}).get('batch_size', 1)
        cached = phase.cache_begin + phase.cached_passes - phase.begin_pass
        computed = phase.max_iters
        if phase.cached_passes:
            computed = min(computed,
                           max(0, cached) * len(loop.feed_of(phase)))
        costs.append(
            PhaseCost(phase.name, phase.max_iters, computed,
                      *(images * counts[key]
                        for key in ('gflops', 'gflops_cached'))))
    return costs


def count_training(cfg: Config) -> List[PhaseCost]:
    """Count the FLOPs of a training run without running it.

    Args:
        cfg (Config): A distillation or plain training config. Data, teacher
            and its checkpoint must exist.

    Returns:
        list[PhaseCost]: One per phase; plain training is a single phase.

    Raises:
        ValueError: FLOPs are unknown; a warning says why.
    """
    with quiet(), dry_runner(cfg) as runner:
        loop = runner.train_loop
        if hasattr(loop, 'phases'):
            costs = count_phases(loop, loop.feeds.base.sample())
        else:
            gflops = count_plain_step(runner)
            size = cfg.train_dataloader.batch_size
            costs = None if gflops is None else [
                PhaseCost('train', loop.max_iters, loop.max_iters,
                          size * gflops)
            ]
    if costs is None:
        raise ValueError(f'The FLOPs of {cfg.filename} are unknown.')
    return costs
