# Copyright (c) sskd_mm authors. All rights reserved.
from . import atomic_backend, mmcv_ext
from .checkpoint import (TruncatedCheckpointError, UntrustedCheckpointError,
                         load_checkpoint_file, mmengine_globals)
from .cpu_distributed import setup_cpu_distributed
from .versions import check_stack, installed_distributions

__all__ = [
    'TruncatedCheckpointError', 'UntrustedCheckpointError', 'atomic_backend',
    'check_stack', 'installed_distributions', 'load_checkpoint_file',
    'mmcv_ext', 'mmengine_globals', 'setup_cpu_distributed'
]
