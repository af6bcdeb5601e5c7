# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Sequence

from mmengine.registry import MODELS
from torch import nn


def build_adapter(cfg: dict, source: Sequence[int],
                  target: Sequence[int]) -> nn.Module:
    """Build an adapter between two features and initialise it.

    Args:
        cfg (dict): Its config, without the channels.
        source (Sequence[int]): Shape of its input: a map (N, C, H, W),
            tokens (N, L, C) or an embedding (N, C).
        target (Sequence[int]): Shape of its output, of the same kind.

    Returns:
        nn.Module: The adapter, initialised by its ``init_cfg``.

    Example:
        >>> build_adapter(dict(type='ConvAdapter'), (2, 16, 8), (2, 16, 12))
    """
    adapter = MODELS.build(
        dict(
            cfg,
            student_channels=_channels(source),
            teacher_channels=_channels(target)))
    # No parent does: MMEngine's init_weights skips torch's containers.
    if hasattr(adapter, 'init_weights'):
        adapter.init_weights()
    return adapter


def _channels(shape: Sequence[int]) -> int:
    return shape[2] if len(shape) == 3 else shape[1]
