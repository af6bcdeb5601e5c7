# Copyright (c) sskd_mm authors. All rights reserved.
from . import (atomic_backend, checkpoint_loader, config_errors, config_scope,
               config_text, mmcv_ext, safe_yaml)
from .checkpoint import (TruncatedCheckpointError, UntrustedCheckpointError,
                         allow_pickle, load_checkpoint_file)
from .class_name import class_name
from .class_names import class_names, find_class
from .cpu_distributed import setup_cpu_distributed
from .dumped_config import read_dumped_config
from .is_a import is_a
from .pickle_option import apply_pickle_option
from .safe_yaml import InvalidYamlError, read_yaml
from .versions import check_stack, installed_distributions

__all__ = [
    'InvalidYamlError', 'TruncatedCheckpointError',
    'UntrustedCheckpointError', 'allow_pickle', 'apply_pickle_option',
    'atomic_backend', 'check_stack', 'checkpoint_loader', 'class_name',
    'class_names', 'config_errors', 'config_scope', 'config_text',
    'find_class', 'installed_distributions', 'is_a', 'load_checkpoint_file',
    'mmcv_ext', 'read_dumped_config', 'read_yaml', 'safe_yaml',
    'setup_cpu_distributed'
]
