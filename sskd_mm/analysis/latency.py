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
    """Time networks alternately on the same images.

    Timed is a prediction as users see it: data preprocessor, forward pass and
    post-processing including NMS, but not reading and augmenting the image.
    Networks alternate image by image, so that changes in the machine's speed
    affect all of them.

    Args:
        models (dict[str, nn.Module]): mmdet or mmpretrain networks by name,
            in eval mode on their device.
        batches (Sequence[dict]): Batches of the test set, used in turn.
        repeats (int): How often each network is timed. Defaults to 50.
        warm_up (int): Runs of each network before timing. Defaults to 5.

    Returns:
        dict[str, dict[str, float]]: For each network, ``median_ms``,
        ``p5_ms`` and ``p95_ms`` (5th and 95th percentile) per batch, and
        ``fps``, images per second at the median.
    """
    seconds = {name: [] for name in models}
    images = len(batches[0]['inputs'])
    for number in range(-warm_up, repeats):
        batch = batches[number % len(batches)]
        for name, model in models.items():
            # Some networks write into their input samples.
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
    """Wait for the GPU, which runs asynchronously."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
