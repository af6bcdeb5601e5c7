# Copyright (c) sskd_mm authors. All rights reserved.
"""Lets MMEngine read no more of a checkpoint than weights and plain data.

onedl-mmengine unpickles a file in full where torch refuses to, and both
stacks do so with whatever they download. This holds for each scheme that
MMEngine resolves (``torchvision://``, ``open-mmlab://``, ``s3://``, ...), so
for ``load_from``, ``resume`` and ``init_cfg=dict(type='Pretrained', ...)``.
"""
from typing import Any

import torch
from mmengine.runner import CheckpointLoader

from .checkpoint import read_weights

_mmengine_load = CheckpointLoader.load_checkpoint.__func__


def _load_checkpoint(cls,
                     filename: str,
                     map_location: Any = None,
                     logger: Any = 'current') -> Any:
    """``CheckpointLoader.load_checkpoint``, reading by ``read_weights``."""

    def load(file, map_location=None, *args, **kwargs):
        return read_weights(file, filename, map_location)

    # All loaders end in torch.load, each with a weights_only of its own. The
    # variable TORCH_FORCE_WEIGHTS_ONLY_LOAD would leave getattr to a file.
    torch_load, torch.load = torch.load, load
    try:
        return _mmengine_load(cls, filename, map_location, logger)
    finally:
        torch.load = torch_load


def install() -> None:
    """Let MMEngine read checkpoints like this."""
    CheckpointLoader.load_checkpoint = classmethod(_load_checkpoint)
