# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict

from mmengine.hooks import EarlyStoppingHook, Hook

from ...stages import Phase


class EarlyStopHook(Hook):
    """Resets an ``EarlyStoppingHook`` when a phase begins, so that it stops
    each phase separately. Its state is saved for resuming."""

    def __init__(self, hook: EarlyStoppingHook) -> None:
        self._hook = hook
        self._begin = self.state_dict()

    def state_dict(self) -> Dict[str, float]:
        """dict: The best score, and the validations since."""
        return dict(
            wait_count=self._hook.wait_count,
            best_score=float(self._hook.best_score))

    def load_state_dict(self, state: Dict[str, float]) -> None:
        """Restore them."""
        self._hook.wait_count = state['wait_count']
        self._hook.best_score = state['best_score']

    def before_phase(self, runner, phase: Phase) -> None:
        """Reset the hook."""
        self.load_state_dict(self._begin)
