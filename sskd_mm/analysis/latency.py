# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import time
from typing import Dict, Sequence

import numpy as np
import torch
from torch import nn


@torch.inference_mode()
def measure_latency(models: Dict[str, nn.Module],
                    batches: Sequence[dict],
                    repeats: int = 50,
                    warm_up: int = 5) -> Dict[str, Dict[str, float]]:
    """Time networks on the same images, in turn.

    A prediction is timed as users have it: data preprocessor, forward pass
    and what makes results of it, NMS included; reading and augmenting the
    image are not. Networks take turns image by image, so that a machine that
    becomes slower or busier does so for all of them.

    Args:
        models (dict[str, nn.Module]): Networks of mmdet or mmpretrain by
            name, in eval mode on their device.
        batches (Sequence[dict]): Of the test set; they are taken in turn.
        repeats (int): How often each network is timed. Defaults to 50.
        warm_up (int): How often each runs before. Defaults to 5.

    Returns:
        dict[str, dict[str, float]]: Of each network ``median_ms``,
        ``p5_ms`` and ``p95_ms`` of a batch (the times that 5 % and 95 % stay
        below), and ``fps``, images a second at the median.
    """
    seconds = {name: [] for name in models}
    images = len(batches[0]['inputs'])
    for number in range(-warm_up, repeats):
        batch = batches[number % len(batches)]
        for name, model in models.items():
            # Some networks write into the samples that they get.
            data = copy.deepcopy(batch)
            _wait()
            start = time.perf_counter()
            model.test_step(data)
            _wait()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    result = {}
    for name, values in seconds.items():
        p5, median, p95 = np.percentile(values, [5, 50, 95]) * 1000
        result[name] = dict(
            median_ms=median,
            p5_ms=p5,
            p95_ms=p95,
            fps=images * 1000 / median)
    return result


def _wait() -> None:
    """A GPU works on while Python has gone ahead."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
