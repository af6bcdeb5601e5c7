# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path

import torch


class PeakMemory:
    """Measures the peak memory since the beginning.

    On a GPU this is memory allocated by PyTorch, otherwise the resident memory
    of this process (Linux only).

    Example:
        >>> memory = PeakMemory()
        >>> train()
        >>> memory.mib()
    """

    def __init__(self) -> None:
        self._cuda = torch.cuda.is_available()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._begin = torch.cuda.memory_allocated()
        else:
            # Resets the peak.
            Path('/proc/self/clear_refs').write_text('5')
            self._begin = _status('VmRSS')

    def mib(self) -> float:
        """Return the increase since the beginning, in MiB."""
        now = torch.cuda.max_memory_allocated() if self._cuda else _status(
            'VmHWM')
        return (now - self._begin) / 2**20


def _status(key: str) -> int:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{key}:'):
            return int(line.split()[1]) * 2**10
    raise KeyError(key)
