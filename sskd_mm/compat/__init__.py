# Copyright (c) sskd_mm authors. All rights reserved.
from . import mmcv_ext
from .checkpoint import load_checkpoint_file, mmengine_globals
from .versions import check_stack, installed_distributions

__all__ = [
    'check_stack', 'installed_distributions', 'load_checkpoint_file',
    'mmcv_ext', 'mmengine_globals'
]
