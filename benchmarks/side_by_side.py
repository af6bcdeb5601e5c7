# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
import time
from typing import Callable, Dict, List

import torch


def side_by_side(ways: Dict[str, Callable[[], None]],
                 repeats: int = 20,
                 warmup: int = 3) -> Dict[str, List[float]]:
    """Time several ways in turn, so that what else a machine does, and how
    warm it is, hits all alike.

    Args:
        ways (dict[str, Callable]): Functions without arguments.
        repeats (int): Rounds that count. Defaults to 20.
        warmup (int): Rounds before them. Defaults to 3.

    Returns:
        dict[str, list[float]]: Seconds of each round.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(-warmup, repeats):
        # Each is first as often as the others.
        for name in names[number % len(names):] + names[:number % len(names)]:
            start = now()
            ways[name]()
            if number >= 0:
                seconds[name].append(now() - start)
    return seconds


def now() -> float:
    """Seconds, once the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def median(values: List[float], factor: float = 1, digits: int = 1) -> str:
    """The median with the quartiles."""
    low, middle, high = (
        factor * x for x in statistics.quantiles(values, n=4))
    return (f'{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})')


def ratio(values: List[float], others: List[float]) -> str:
    """Of the two in each round: the median with the quartiles."""
    return median([a / b for a, b in zip(values, others)], digits=2)
