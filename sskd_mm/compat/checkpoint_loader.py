# Copyright (c) sskd_mm authors. All rights reserved.
"""Makes MMEngine read only weights and plain data from a checkpoint.

onedl-mmengine fully unpickles a file if torch refuses to, and both stacks
fully unpickle downloads. The restriction covers every scheme that MMEngine
resolves (``torchvision://``, ``open-mmlab://``, ``s3://``, ...), and thus
``load_from``, ``resume`` and ``init_cfg=dict(type='Pretrained', ...)``.
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

    # All loaders end in torch.load, each with its own weights_only. The
    # variable TORCH_FORCE_WEIGHTS_ONLY_LOAD would leave getattr allowed.
    torch_load, torch.load = torch.load, load
    try:
        return _mmengine_load(cls, filename, map_location, logger)
    finally:
        torch.load = torch_load


def install() -> None:
    """Make MMEngine read checkpoints by :func:`read_weights`."""
    CheckpointLoader.load_checkpoint = classmethod(_load_checkpoint)
