# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict

from mmengine.hooks import EarlyStoppingHook, Hook

from ...stages import Phase


class EarlyStopHook(Hook):
    """Lets an ``EarlyStoppingHook`` judge each phase by itself.

    One that has ended a phase would else end the next at its first
    validation. Checkpoints have what it waits for, so that a resumed run
    stops where the whole one does. :class:`StageByStageTrainLoop` registers
    one for each.

    Args:
        hook (EarlyStoppingHook): The user's.
    """

    def __init__(self, hook: EarlyStoppingHook) -> None:
        self._hook = hook
        self._begin = self.state_dict()

    def state_dict(self) -> Dict[str, float]:
        """dict: How long it has waited since which score."""
        return dict(
            wait_count=self._hook.wait_count,
            best_score=float(self._hook.best_score))

    def load_state_dict(self, state: Dict[str, float]) -> None:
        """Go on waiting."""
        self._hook.wait_count = state['wait_count']
        self._hook.best_score = state['best_score']

    def before_phase(self, runner, phase: Phase) -> None:
        """Begin anew."""
        self.load_state_dict(self._begin)
