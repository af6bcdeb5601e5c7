# Copyright (c) sskd_mm authors. All rights reserved.
import json
import statistics
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from peak_memory import PeakMemory
from side_by_side import now


@HOOKS.register_module()
class NoteHook(Hook):
    """Writes each phase's seconds an iteration and memory to
    ``notes.json``."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._phases: dict = {}

    def before_phase(self, runner, phase) -> None:
        self._name = phase.name
        self._marks: list = []
        self._memory = PeakMemory()

    def after_train_iter(self, *args, **kwargs) -> None:
        self._marks.append(now())

    def after_train_epoch(self, runner) -> None:
        seconds = [b - a for a, b in zip(self._marks[1:], self._marks[2:])]
        self._phases[self._name] = dict(
            seconds=statistics.median(seconds), mib=self._memory.mib())

    def after_train(self, runner) -> None:
        if is_main_process():
            Path(runner.work_dir, 'notes.json').write_text(
                json.dumps(self._phases))
