# Copyright (c) sskd_mm authors. All rights reserved.
from . import mmcv_ext
from .checkpoint import allow_mmengine_globals, load_checkpoint_file
from .versions import check_stack, installed_distributions

__all__ = [
    'allow_mmengine_globals', 'check_stack', 'installed_distributions',
    'load_checkpoint_file', 'mmcv_ext'
]
