# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
import time
from typing import Callable, Dict, List

import torch


def side_by_side(ways: Dict[str, Callable[[], None]],
                 repeats: int = 20,
                 warmup: int = 3) -> Dict[str, List[float]]:
    """Time several functions in turn, so that other load and temperature
    affect all of them equally.

    Args:
        ways (dict[str, Callable]): Functions without arguments.
        repeats (int): Timed rounds. Defaults to 20.
        warmup (int): Rounds before timing. Defaults to 3.

    Returns:
        dict[str, list[float]]: Seconds of each round.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(-warmup, repeats):
        # Rotated, so that each comes first equally often.
        for name in names[number % len(names):] + names[:number % len(names)]:
            start = now()
            ways[name]()
            if number >= 0:
                seconds[name].append(now() - start)
    return seconds


def now() -> float:
    """Read the clock once the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def median(values: List[float], factor: float = 1, digits: int = 1) -> str:
    """Format the median with the quartiles."""
    low, middle, high = (
        factor * x for x in statistics.quantiles(values, n=4))
    return (f'{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})')


def ratio(values: List[float], others: List[float]) -> str:
    """Format the per-round ratio: the median with the quartiles."""
    return median([a / b for a, b in zip(values, others)], digits=2)
