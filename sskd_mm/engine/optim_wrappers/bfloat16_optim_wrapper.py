# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Trains under autocast to bfloat16, on a CPU too.

    MMEngine's ``AmpOptimWrapper`` refuses a CPU, though current ones compute
    about twice as fast in bfloat16 as in float32. bfloat16 has the range of
    float32, so the loss is not scaled.

    Example:
        >>> optim_wrapper = dict(
        >>>     type='BFloat16OptimWrapper',
        >>>     optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        """The context of a step's forward pass."""
        with super().optim_context(model), torch.autocast(
                get_device(), torch.bfloat16):
            yield
