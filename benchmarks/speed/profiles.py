# Copyright (c) sskd_mm authors. All rights reserved.
"""Where the time of a mimic phase goes.

Times the parts of a Runner with a shipped config from the outside. Time in a
nested part counts for that part only; the rest is hooks, logging and Python.
On a GPU it synchronises after each part, so the sum exceeds the time of a
step.
"""
import functools
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List

from beside_hook import WARMUP
from mmengine.hooks import Hook
from mmengine.runner import Runner
from side_by_side import now
from table import Table

from sskd_mm.distillers import stage_by_stage
from .bound import PAIRS

PARTS = ('loading', 'preprocessing', 'teacher', 'student', 'loss',
         'measured distance', 'backward', 'optimizer',
         'hooks, logging, the rest')


class ProfileHook(Hook):
    """Times the parts of each iteration.

    Attributes:
        seconds (dict[str, dict[str, list]]): For each phase and part, the
            times of the measured iterations.
    """

    # After IterTimerHook, which records the loading time.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.seconds: Dict[str, Dict[str, list]] = {}
        self._running: List[float] = []
        self._spent: Dict[str, float] = defaultdict(float)

    def watch(self, part: str, owner: object, name: str) -> None:
        """Time calls of ``owner.name``."""
        function: Callable = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            start = now()
            self._running.append(0)
            try:
                return function(*args, **kwargs)
            finally:
                whole = now() - start
                self._spent[part] += whole - self._running.pop()
                if self._running:
                    self._running[-1] += whole

        setattr(owner, name, timed)

    def before_train(self, runner) -> None:
        distiller = runner.train_loop.distiller
        self.watch('preprocessing', distiller.data_preprocessor, 'forward')
        self.watch('teacher', distiller, '_teach')
        self.watch('student', stage_by_stage, 'run_prefix')
        self.watch('loss', distiller.mimic_loss, 'forward')
        self.watch('measured distance', stage_by_stage, '_distance')

    def before_phase(self, runner, phase) -> None:
        # Each phase has its own optimizer.
        self.watch('backward', runner.optim_wrapper, 'backward')
        for name in ('step', 'zero_grad'):
            self.watch('optimizer', runner.optim_wrapper, name)
        self._phase = self.seconds[phase.name] = {part: [] for part in PARTS}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if batch_idx > WARMUP:
            loading = runner.message_hub.get_scalar('train/data_time')
            self._spent['loading'] = loading.current()
            self._spent[PARTS[-1]] = now() - self._begin - sum(
                self._spent[part] for part in PARTS[:-1])
            for part in PARTS:
                self._phase[part].append(self._spent[part])
        self._spent.clear()
        self._begin = now()


def run() -> List[Table]:
    tables = []
    for title, (pair, iters) in PAIRS.items():
        hook = ProfileHook()
        with tempfile.TemporaryDirectory() as tmp:
            runner = Runner.from_cfg(pair(Path(tmp), iters + WARMUP + 1))
            runner.register_hook(hook)
            runner.train()
        rows = []
        for part in PARTS:
            row = [part]
            for parts in hook.seconds.values():
                whole = sum(map(median, parts.values()))
                row.append(f'{1000 * median(parts[part]):.1f} '
                           f'({median(parts[part]) / whole:.1%})')
            rows.append(row)
        tables.append(
            Table(
                title, ['part, ms (share)', *hook.seconds], rows,
                f'Medians of {iters} iterations. The student\'s part has the '
                'adapters; the loop without them, its checks and MMEngine\'s '
                'hooks are in the last row.'))
    return tables
