# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Optional


def available_memory() -> Optional[int]:
    """Bytes that a process can allocate without swapping; None if unknown, as
    on systems other than Linux."""
    info = Path('/proc/meminfo')
    if not info.exists():
        return None
    for line in info.read_text().splitlines():
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) * 2**10
    return None
