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
    """Count what a function computes, two FLOPs for each multiply-add.

    Two-stage detectors compute with :func:`fixed_proposals`.

    Args:
        run (callable): Runs the models.
        what (str): What it is, for a warning.
        models (list[nn.Module]): Those that run.

    Returns:
        dict or None: For ``'Global'`` and each module the FLOPs by operator,
        as ``FlopCounterMode`` calls them. None, with a warning, where that
        fails or nothing is counted, as by a detector without ``_forward``.
    """
    count = {torch.ops.aten.convolution_backward: _conv_backward}
    counter = FlopCounterMode(display=False, custom_mapping=count)
    try:
        with fixed_proposals(*models), counter:
            run()
        if counter.get_total_flops():
            return counter.get_flop_counts()
        error = 'nothing that is counted ran'
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
    """GFLOPs for each image.

    Args:
        counts (dict, optional): What :func:`count_flops` returns.
        images (int): Of the batch that ran.
        module (str): Defaults to all of them.

    Returns:
        float or None: None if they are unknown.
    """
    if counts is None:
        return None
    return sum(counts.get(module, {}).values()) / images / 1e9


def format_gflops(gflops: Optional[float], spec: str = '.2f') -> str:
    """As tables show them: ``'unknown'`` for None."""
    return 'unknown' if gflops is None else format(gflops, spec)


def _conv_backward(grad_shape, x_shape, weight_shape, _bias, _stride, _padding,
                   _dilation, transposed, _output_padding, _groups,
                   output_mask, **kwargs) -> int:
    """Each of the two gradients computes as much as the forward pass. By
    torch's own count those of a grouped convolution's weights are of a full
    one's."""
    return sum(output_mask[:2]) * conv_flop_count(x_shape, weight_shape,
                                                  grad_shape, transposed)
