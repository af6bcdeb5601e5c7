# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, Mapping

import numpy as np
import torch


def scalar_metrics(metrics: Mapping[str, Any]) -> Dict[str, float]:
    """The metrics that are a single number.

    An evaluator may return others, such as the matrix of mmpretrain's
    ``ConfusionMatrix``, a list with a value for each class, or a text. They
    have no place on a line of a log, in ``result.json`` or in a curve.

    Args:
        metrics (dict[str, Any]): What an evaluator returns.

    Returns:
        dict[str, float]: In the same order: numbers, and tensors and arrays
        of one element, as JSON and ``weights_only`` loading take them.

    Example:
        >>> scalar_metrics({
        >>>     'accuracy/top1': torch.tensor(90.), 'confusion_matrix/result':
        >>>     torch.eye(10)})
        {'accuracy/top1': 90.0}
    """
    found = {}
    for name, value in metrics.items():
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
            size = value.numel() if isinstance(value,
                                               torch.Tensor) else value.size
            value = value.item() if size == 1 else None
        if isinstance(value, (int, float)):
            found[name] = float(value)
    return found
