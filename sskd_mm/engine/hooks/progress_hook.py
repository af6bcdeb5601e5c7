# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                           TimeElapsedColumn, TimeRemainingColumn)


@HOOKS.register_module()
class ProgressHook(Hook):
    """One line on the terminal that tells how far a training is.

    It shows the phase or epoch, the loss, iterations done and the time left
    for the whole run. Where the output is no terminal, a line is printed at
    the end of each epoch instead. It takes the place of the log on the
    screen, so it goes well with ``log_level='WARNING'``.

    Args:
        title (str): What the line begins with.

    Example:
        >>> custom_hooks = [dict(type='ProgressHook', title='student')]
        >>> log_level = 'WARNING'
    """

    #: Reading the loss waits for the GPU, so it is not done at every step.
    interval = 10

    def __init__(self, title: str = 'training') -> None:
        self.title = title
        self.console = Console(stderr=True)
        self._progress: Optional[Progress] = None

    def before_train(self, runner) -> None:
        """Open the line."""
        if not is_main_process():
            return
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal)
        self._progress.start()
        self._task = self._progress.add_task(
            self.title, total=runner.max_iters, completed=runner.iter)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Move on."""
        if self._progress is None:
            return
        done = runner.iter + 1
        last = batch_idx + 1 == len(runner.train_dataloader)
        if done % self.interval and not last:
            return
        text = (f'{self.title}: {self._where(runner)}, loss '
                f'{float(outputs["loss"].detach()):.3f}')
        self._progress.update(self._task, completed=done, description=text)
        if last and not self.console.is_terminal:
            self.console.print(f'{text} ({done}/{runner.max_iters})')

    def before_val(self, runner) -> None:
        """Say that it is validating."""
        self._say('validating')

    def after_val_epoch(self, runner, metrics: Optional[dict] = None) -> None:
        """Show the first metric, which is the one that counts."""
        for name, value in list((metrics or {}).items())[:1]:
            self._say(f'{name} {value:.3f}')

    def after_run(self, runner) -> None:
        """Close the line."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _say(self, text: str) -> None:
        if self._progress is not None:
            self._progress.update(
                self._task, description=f'{self.title}: {text}')

    @staticmethod
    def _where(runner) -> str:
        epoch = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
        phase = getattr(runner.train_loop, 'entered', None)
        return epoch if phase is None else f'{phase.name}, {epoch}'
