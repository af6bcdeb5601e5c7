# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, Mapping

import numpy as np
import torch


def scalar_metrics(metrics: Mapping[str, Any]) -> Dict[str, float]:
    """Keep the metrics that are a single number.

    An evaluator may return others, such as the matrix of mmpretrain's
    ``ConfusionMatrix``, a list of per-class values, or text. They do not
    belong in a log line, in ``result.json`` or in a curve.

    Args:
        metrics (dict[str, Any]): The result of an evaluator.

    Returns:
        dict[str, float]: Numbers, and one-element tensors and arrays as
        numbers, for JSON and ``weights_only`` loading; in the same order.

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
