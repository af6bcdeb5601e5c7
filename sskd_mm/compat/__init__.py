# Copyright (c) sskd_mm authors. All rights reserved.
from . import atomic_backend, mmcv_ext
from .checkpoint import (TruncatedCheckpointError, UntrustedCheckpointError,
                         load_checkpoint_file, mmengine_globals)
from .versions import check_stack, installed_distributions

__all__ = [
    'TruncatedCheckpointError', 'UntrustedCheckpointError', 'atomic_backend',
    'check_stack', 'installed_distributions', 'load_checkpoint_file',
    'mmcv_ext', 'mmengine_globals'
]
