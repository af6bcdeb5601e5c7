# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import tempfile
from pathlib import Path
from typing import Callable, Dict

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from side_by_side import now

#: Iterations at the beginning of a phase that are not timed.
WARMUP = 4


class BesideHook(Hook):
    """Runs a step of each rival before each iteration of the engine.

    All thus run under the same load at any time. An iteration of the engine
    lasts from the end of the rivals' steps to the beginning of the next, and
    includes loading, preprocessing, hooks and logging. The rivals get a
    loaded batch.

    Args:
        rivals (dict[str, Callable]): For each rival, a function of the
            distiller, the index of the stage in training and the optimizer;
            its result is called with a batch of images.

    Attributes:
        seconds (dict[str, dict[str, list]]): For each phase, the times of
            ``engine``, of each rival, and of ``loading``, which is part of
            the engine's.
    """

    # After IterTimerHook, which records the loading time.
    priority = 'LOWEST'

    def __init__(self, rivals: Dict[str, Callable]) -> None:
        self._rivals = rivals
        self.seconds: Dict[str, Dict[str, list]] = {}

    def before_phase(self, runner, phase) -> None:
        distiller = runner.train_loop.distiller
        index = list(distiller.stages).index(phase.taps[0])
        optimizer = runner.optim_wrapper.optimizer
        self._steps = {
            name: make(distiller, index, optimizer)
            for name, make in self._rivals.items()
        }
        self._phase = self.seconds[phase.name] = {
            name: []
            for name in ('engine', 'loading', *self._rivals)
        }

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        start = now()
        if batch_idx == 0:
            self._inputs = runner.train_loop.distiller.data_preprocessor(
                copy.deepcopy(data_batch), True)['inputs']
        elif batch_idx > WARMUP:
            self._phase['engine'].append(start - self._end)
            self._phase['loading'].append(
                runner.message_hub.get_scalar('train/data_time').current())
        for name, step in self._steps.items():
            start = now()
            step(self._inputs)
            if batch_idx > WARMUP:
                self._phase[name].append(now() - start)
        self._end = now()


def measure_beside(pair: Callable[..., Config], iters: int,
                   rivals: Dict[str, Callable]) -> Dict[str, dict]:
    """Run a pair's phases side by side with rivals.

    Args:
        pair (Callable): One of ``pairs``.
        iters (int): Timed iterations per phase.
        rivals (dict[str, Callable]): See :class:`BesideHook`.

    Returns:
        dict[str, dict[str, list]]: Seconds in each phase.
    """
    hook = BesideHook(rivals)
    with tempfile.TemporaryDirectory() as tmp:
        runner = Runner.from_cfg(pair(Path(tmp), iters + WARMUP + 1))
        runner.register_hook(hook)
        runner.train()
    return hook.seconds
