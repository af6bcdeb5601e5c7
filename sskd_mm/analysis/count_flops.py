# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Any, Callable, Dict, Optional, Sequence

import torch
from mmengine.logging import print_log
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from .fixed_proposals import fixed_proposals


def count_flops(run: Callable[[], Any], what: str,
                models: Sequence[nn.Module]) -> Optional[Dict[str, dict]]:
    """Count the FLOPs of a function, two per multiply-add.

    Two-stage detectors run under :func:`fixed_proposals`.

    Args:
        run (callable): Runs the models.
        what (str): Description for warnings.
        models (list[nn.Module]): The models that run.

    Returns:
        dict or None: FLOPs by operator for ``'Global'`` and each module, as in
        ``FlopCounterMode``. None, with a warning, if this fails or counts
        nothing, e.g. for a detector without ``_forward``.
    """
    count = {torch.ops.aten.convolution_backward: _conv_backward}
    counter = FlopCounterMode(display=False, custom_mapping=count)
    try:
        with fixed_proposals(*models), counter:
            run()
        if counter.get_total_flops():
            return counter.get_flop_counts()
        error = 'no countable operator ran'
    except Exception as raised:
        error = f'{type(raised).__name__}: {raised}'
    print_log(
        f'The FLOPs of {what} are unknown: {error}.',
        logger='current',
        level=logging.WARNING)
    return None


def gflops_of(counts: Optional[Dict[str, dict]],
              images: int,
              module: str = 'Global') -> Optional[float]:
    """Get the GFLOPs per image.

    Args:
        counts (dict, optional): The result of :func:`count_flops`.
        images (int): Number of images in the batch that ran.
        module (str): Name of the module. Defaults to the whole model.

    Returns:
        float or None: None if unknown.
    """
    if counts is None:
        return None
    return sum(counts.get(module, {}).values()) / images / 1e9


def format_gflops(gflops: Optional[float], spec: str = '.2f') -> str:
    """Format for tables: ``'unknown'`` for None."""
    return 'unknown' if gflops is None else format(gflops, spec)


def _conv_backward(grad_shape, x_shape, weight_shape, _bias, _stride, _padding,
                   _dilation, transposed, _output_padding, _groups,
                   output_mask, **kwargs) -> int:
    """Count a convolution's backward pass: each of the two gradients costs as
    much as the forward pass. Torch's own count treats the weight gradient of
    a grouped convolution like that of a full one."""
    return sum(output_mask[:2]) * conv_flop_count(x_shape, weight_shape,
                                                  grad_shape, transposed)
