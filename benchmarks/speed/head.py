# Copyright (c) sskd_mm authors. All rights reserved.
"""The head phase on frozen features: computed in each iteration, or cached.

The same config with and without ``cached_passes`` of the head, run by the
Runner on an untrained student.
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
    """Records time and memory of epochs.

    Attributes:
        seconds (list[float]): Time of each epoch, including its preparation.
        memory (PeakMemory): Peak since the first epoch.
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
        # Warm up, so that one-time loading and allocation do not count.
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
