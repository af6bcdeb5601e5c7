# Copyright (c) sskd_mm authors. All rights reserved.
from .hooks import LoadReportHook, PhaseCheckpointHook, PhaseHook, ProgressHook
from .loops import StageByStageTrainLoop

__all__ = [
    'LoadReportHook', 'PhaseCheckpointHook', 'PhaseHook', 'ProgressHook',
    'StageByStageTrainLoop'
]
