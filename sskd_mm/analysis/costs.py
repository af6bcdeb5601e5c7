# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, Sequence

import torch
from torch import nn

from .latency import measure_latency
from .plan import describe_network


def measure_costs(models: Dict[str, nn.Module], batches: Sequence[dict],
                  repeats: int, device: str) -> Dict[str, Dict[str, Any]]:
    """Measure size, FLOPs and speed of networks side by side.

    Args:
        models (dict[str, nn.Module]): mmdet or mmpretrain networks by name,
            in eval mode; they are moved to the device.
        batches (Sequence[dict]): Batches of the test set.
        repeats (int): How often each network is timed.
        device (str): The device to run on.

    Returns:
        dict[str, dict]: For each network, the results of
        :func:`describe_network` and :func:`measure_latency`.
    """
    rows = {
        name: describe_network(model, batches[0])
        for name, model in models.items()
    }
    for model in models.values():
        model.to(device)
    for name, times in measure_latency(models, batches, repeats).items():
        rows[name].update(times)
    return rows


def name_device(device: str) -> str:
    """Describe a device in a table: the name of a GPU, or the number of
    threads of a CPU."""
    if device.startswith('cuda'):
        return torch.cuda.get_device_name(device)
    return f'{device}, {torch.get_num_threads()} thread(s)'
