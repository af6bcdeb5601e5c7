# Copyright (c) sskd_mm authors. All rights reserved.
import time
from datetime import timedelta
from statistics import fmean
from typing import Dict, List, Optional, Tuple

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ...analysis import PhaseCost, count_phases, scalar_metrics
from ...stages import Phase
from ..try_later_phases import load_apart, random_state_kept


@HOOKS.register_module()
class ProgressHook(Hook):
    """One line a phase that tells how far a training is.

    It shows the phase (k of n), epoch and iteration, the loss, the distance
    to the teacher (in mimic phases, the mean over their taps of
    ``distance_<stage>``, see :class:`StageByStageDistiller`), iterations a
    second, and the time left for the phase and for the whole run, validations
    not included. The current phase's speed is measured. Those of later phases
    are estimated by the FLOPs of a step in each, which are counted before
    training, and the seconds that a FLOP has taken so far. Where FLOPs cannot
    be counted, later phases are taken to be as fast as this one. The line says
    which. A training without phases has one line.

    On a terminal the line moves, and those of finished phases stay above it.
    Where the output is no terminal, a line is printed at the end of each
    epoch instead. Of several processes the first one alone writes. It takes
    the place of the log on the screen, so it goes well with
    ``log_level='WARNING'``.

    Args:
        title (str): What the line begins with.

    Attributes:
        costs (list[PhaseCost], optional): What each phase computes; None while
            it is unknown.

    Example:
        >>> custom_hooks = [dict(type='ProgressHook', title='student')]
        >>> log_level = 'WARNING'
    """

    #: Reading the loss waits for the GPU, so it is not done at every step.
    interval = 10

    def __init__(self, title: str = 'training') -> None:
        self.title = title
        self.console = Console(stderr=True)
        self.costs: Optional[List[PhaseCost]] = None
        #: Seconds and GFLOPs of each phase, as far as it was measured.
        self._measured: Dict[str, Tuple[float, float]] = {}
        self._progress: Optional[Progress] = None
        self._task = None
        self._phase: Optional[Phase] = None

    def before_run(self, runner) -> None:
        """Count what each phase computes."""
        # Not later: torch.compile makes a copy run the original's modules. In
        # validation or testing the loop is not built, and stays so.
        loop = runner._train_loop
        if not hasattr(loop, 'phases'):
            return
        try:
            with random_state_kept():
                feed = loop.feeds.base
                feed.set_annotated(True)
                self.costs = count_phases(loop, load_apart(feed.loader, 2))
        except Exception as error:  # a display must not end a training
            runner.logger.warning(
                'The time that later phases take cannot be estimated: '
                f'{type(error).__name__}: {error}')

    def before_train(self, runner) -> None:
        """Open the display."""
        if not is_main_process():
            return
        self._progress = Progress(
            BarColumn(bar_width=12),
            # A narrow terminal breaks the line rather than cuts it.
            TextColumn(
                '{task.description}',
                markup=False,
                table_column=Column(no_wrap=False)),
            console=self.console,
            disable=not self.console.is_terminal)
        self._progress.start()
        if not hasattr(runner.train_loop, 'phases'):
            self._begin(runner)

    def before_phase(self, runner, phase: Phase) -> None:
        """Begin a line."""
        self._phase = phase
        if self._progress is not None:
            self._begin(runner)

    def _begin(self, runner) -> None:
        phase = self._phase
        if phase is None:
            self._epochs = 0, runner.max_epochs
            self._iters = 0, runner.max_iters
        else:
            self._epochs = phase.begin, phase.end
            self._iters = phase.begin_iter, phase.end_iter
        self._seen = runner.iter
        self._seconds = 0.
        first, end = self._iters
        self._task = self._progress.add_task(
            self._where(runner),
            total=end - first,
            completed=runner.iter - first)

    def before_train_epoch(self, runner) -> None:
        """What lay between two epochs, such as validation, is no part of the
        speed."""
        self._time = time.monotonic()

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Move on."""
        if self._progress is None:
            return
        done = runner.iter + 1
        length = len(runner.train_dataloader)
        last = batch_idx + 1 == length
        if done % self.interval and not last:
            return
        text = self._describe(runner, batch_idx, outputs)
        self._progress.update(
            self._task, completed=done - self._iters[0], description=text)
        if last and not self.console.is_terminal:
            # One line, however narrow the file is taken to be.
            self.console.print(
                text, soft_wrap=True, markup=False, highlight=False)

    def _describe(self, runner, batch_idx: int, outputs: dict) -> str:
        done = runner.iter + 1
        begin, end = self._epochs
        parts = [
            f'{self._where(runner)} epoch {runner.epoch + 1 - begin}/'
            f'{end - begin}',
            f'iteration {batch_idx + 1}/{len(runner.train_dataloader)}',
            f'loss {float(outputs["loss"].detach()):.3f}'
        ]
        distances = [
            float(value) for name, value in outputs.items()
            if name.startswith('distance_')
        ]
        if distances:
            parts.append(f'distance {fmean(distances):.3f}')
        # Fetching the loss has waited for the GPU: now the clock is right.
        now = time.monotonic()
        self._seconds += now - self._time
        self._time = now
        pace = self._seconds / (done - self._seen)
        parts.append(f'{1 / max(pace, 1e-9):.3g} it/s')
        left, later, how = self._left(runner, pace, done)
        parts.append(f'left {_duration(left)}')
        if self._phase is not None:
            parts.append(f'whole run {_duration(left + later)}{how}')
        return ', '.join(parts)

    def _left(self, runner, pace: float,
              done: int) -> Tuple[float, float, str]:
        """Seconds left in this phase and in later ones, and what the latter
        rest on."""
        begin, end = self._iters
        left, later = pace * (end - done), pace * (runner.max_iters - end)
        how = ' (later phases as fast as this one)'
        if self.costs is not None and self._phase is not None:
            index = runner.train_loop.phases.index(self._phase)
            cost, ahead = self.costs[index], self.costs[index + 1:]
            spent = cost.spent(done - begin)
            computed = spent - cost.spent(self._seen - begin)
            # A head that trains on cached features computes next to nothing.
            if computed and not self._phase.caches_features:
                self._measured[cost.name] = self._seconds, computed
                left = self._seconds / computed * (
                    cost.spent(cost.iterations) - spent)
            if self._measured:
                seconds, gflops = map(sum, zip(*self._measured.values()))
                later = seconds / gflops * sum(
                    each.spent(each.iterations) for each in ahead)
                how = ' (later phases estimated by FLOPs)'
        return left, later, how if end < runner.max_iters else ''

    def before_val(self, runner) -> None:
        """Say that it is validating."""
        self._say(runner, 'validating')

    def after_val_epoch(self, runner, metrics: Optional[dict] = None) -> None:
        """Show the first metric, which is the one that counts."""
        for name, value in list(scalar_metrics(metrics or {}).items())[:1]:
            self._say(runner, f'{name} {value:.3f}')

    def after_run(self, runner) -> None:
        """Close the display."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None

    def _say(self, runner, text: str) -> None:
        if self._task is not None:
            self._progress.update(
                self._task, description=f'{self._where(runner)} {text}')

    def _where(self, runner) -> str:
        if self._phase is None:
            return f'{self.title}:'
        phases = runner.train_loop.phases
        return (f'{self.title}: phase {phases.index(self._phase) + 1} of '
                f'{len(phases)}, {self._phase.name},')


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
