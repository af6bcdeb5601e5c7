# Copyright (c) sskd_mm authors. All rights reserved.
from .check_plain_training import check_plain_training
from .hooks import (BootstrapHook, LoadReportHook, MimicWatchHook,
                    PhaseCheckpointHook, PhaseHook, PhaseMemoryHook,
                    PhaseScalarsHook, ProgressHook, StudentConfigHook)
from .loops import StageByStageTrainLoop
from .optim_wrappers import BFloat16OptimWrapper

__all__ = [
    'BFloat16OptimWrapper', 'BootstrapHook', 'LoadReportHook',
    'MimicWatchHook', 'PhaseCheckpointHook', 'PhaseHook',
    'PhaseMemoryHook', 'PhaseScalarsHook', 'ProgressHook',
    'StageByStageTrainLoop', 'StudentConfigHook', 'check_plain_training'
]
