# Copyright (c) sskd_mm authors. All rights reserved.
from .hooks import (LoadReportHook, MimicWatchHook, PhaseCheckpointHook,
                    PhaseHook, ProgressHook)
from .loops import StageByStageTrainLoop

__all__ = [
    'LoadReportHook', 'MimicWatchHook', 'PhaseCheckpointHook', 'PhaseHook',
    'ProgressHook', 'StageByStageTrainLoop'
]
