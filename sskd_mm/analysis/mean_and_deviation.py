# Copyright (c) sskd_mm authors. All rights reserved.
import statistics
from typing import Sequence


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """Format the mean of several runs and, if more than one, the deviation.

    Args:
        values (Sequence[float]): At least one value.
        digits (int): Decimal places.

    Returns:
        str: The mean and the sample standard deviation.

    Example:
        >>> mean_and_deviation([1, 2, 3], 2)
        '2.00 ± 1.00'
    """
    text = f'{statistics.mean(values):.{digits}f}'
    if len(values) > 1:
        text += f' ± {statistics.stdev(values):.{digits}f}'
    return text
