# Copyright (c) sskd_mm authors. All rights reserved.
from .hooks import PhaseCheckpointHook, PhaseHook, ProgressHook
from .loops import StageByStageTrainLoop

__all__ = [
    'PhaseCheckpointHook', 'PhaseHook', 'ProgressHook',
    'StageByStageTrainLoop'
]
