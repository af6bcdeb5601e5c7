# Copyright (c) sskd_mm authors. All rights reserved.
"""The head phase on frozen features: computed in each iteration, or cached.

The same config twice, with and without ``cached_passes`` of the head, through
the Runner, on a student as it is initialised.
"""
import statistics
import tempfile
from pathlib import Path
from typing import List

from mmengine.hooks import Hook
from mmengine.runner import Runner
from pairs import cifar
from peak_memory import PeakMemory
from side_by_side import now
from table import Table

ITERS = 15
EPOCHS = 5


class EpochHook(Hook):
    """Notes what epochs take.

    Attributes:
        seconds (list[float]): Of each epoch, what is done for it before its
            first iteration included.
        memory (PeakMemory): Since the first of them.
    """

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        self.seconds: List[float] = []
        self.memory = PeakMemory()
        self._start = now()

    def after_train_epoch(self, runner) -> None:
        self.seconds.append(now() - self._start)
        self._start = now()


def _measure(work_dir: Path, passes: int) -> EpochHook:
    cfg = cifar(work_dir, ITERS)
    cfg.train_cfg.mimic.max_epochs = 0
    cfg.train_cfg.head.update(max_epochs=EPOCHS, cached_passes=passes)
    cfg.default_hooks.checkpoint.interval = -1
    hook = EpochHook()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(hook)
    runner.train()
    hook.peak = hook.memory.mib()
    return hook


def run() -> List[Table]:
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        # What is loaded and allocated once is not one way's.
        _measure(Path(tmp, 'warm-up'), 0)
        for name, passes in (('in each iteration', 0), ('once, cached', 1)):
            hook = _measure(Path(tmp, name), passes)
            rows.append([
                name, hook.seconds[0],
                statistics.median(hook.seconds[1:]), hook.peak
            ])
    return [
        Table(
            f'Head phase of CIFAR ResNet-20, epochs of {ITERS} x 128 images', [
                'features computed', 'first epoch, s', 'later ones, s',
                'peak memory, MiB'
            ], rows, f'Later ones: the median of {EPOCHS - 1}.')
    ]
