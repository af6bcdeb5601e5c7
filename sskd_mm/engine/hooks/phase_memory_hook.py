# Copyright (c) sskd_mm authors. All rights reserved.
import platform
import resource
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...stages import Phase

_CLEAR_REFS = Path('/proc/self/clear_refs')
_STATUS = Path('/proc/self/status')


@HOOKS.register_module()
class PhaseMemoryHook(Hook):
    """Measures the peak memory of each phase's training, validations not
    included.

    At a phase's end it notes in the message hub, for ``result.json``,
    ``peak_memory_mib`` and ``peak_memory_of``, which tells what that is:

    - ``'gpu'``: what tensors took on this process's GPU;
    - ``'process'``: the resident memory of this process, without a GPU. Linux
      resets its peak by ``/proc/self/clear_refs``;
    - ``'process_so_far'``: the same since the process began, where that peak
      cannot be reset. Later phases then cannot have less than earlier ones.

    Workers of a dataloader are not included. :class:`StageByStageTrainLoop`
    registers this hook by itself.
    """

    # Before LoggerHook (BELOW_NORMAL): with each line that MMEngine logs it
    # resets the peak of the GPU.
    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        self._running = False
        self.load_state_dict(dict(mib=0., of='process'))

    def state_dict(self) -> Dict[str, Any]:
        """dict: The peak of the phase so far."""
        return dict(mib=self._mib, of=self._of)

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on with the peak of a phase."""
        self._mib, self._of = state['mib'], state['of']

    def before_phase(self, runner, phase: Phase) -> None:
        """Begin anew."""
        self.load_state_dict(dict(mib=0., of='process'))

    def before_train_epoch(self, runner) -> None:
        """Start measuring."""
        self._running = True
        self._start()

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Read the GPU's peak before it is reset. No GPU is waited for."""
        if torch.cuda.is_available():
            self._read()

    def before_val(self, runner) -> None:
        """Pause in a validation within an epoch."""
        if self._running:
            self._read()

    def after_val(self, runner) -> None:
        """Go on behind it."""
        if self._running:
            self._start()

    def after_train_epoch(self, runner) -> None:
        """Stop measuring."""
        self._read()
        self._running = False

    def after_phase(self, runner, phase: Phase) -> None:
        """Note the phase's peak."""
        runner.message_hub.update_info(
            'sskd/peak_memory',
            dict(peak_memory_mib=self._mib, peak_memory_of=self._of))

    def _start(self) -> None:
        if torch.cuda.is_available():
            self._of = 'gpu'
            torch.cuda.reset_peak_memory_stats()
        elif not _reset_peak():
            self._of = 'process_so_far'

    def _read(self) -> None:
        mib = (
            torch.cuda.max_memory_allocated() /
            2**20 if torch.cuda.is_available() else _peak())
        self._mib = max(self._mib, mib)


def _reset_peak() -> bool:
    """Whether the peak of this process is what it takes now."""
    try:
        _CLEAR_REFS.write_text('5')
    except OSError:
        pass
    # The kernel counts resident pages roughly.
    now = _status('VmRSS')
    return now is not None and _peak() <= 1.02 * now


def _peak() -> float:
    """MiB that this process has taken at most."""
    peak = _status('VmHWM')
    if peak is None:
        # Linux counts in KiB, macOS in bytes.
        unit = 2**20 if platform.system() == 'Darwin' else 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return peak


def _status(key: str) -> Optional[float]:
    """MiB of an entry of ``/proc/self/status``."""
    try:
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(':')
            if name == key:
                return int(value.split()[0]) / 2**10
    except OSError:
        pass
    return None
