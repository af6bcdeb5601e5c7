# Copyright (c) sskd_mm authors. All rights reserved.
from .hooks import MimicWatchHook, PhaseCheckpointHook, PhaseHook, ProgressHook
from .loops import StageByStageTrainLoop

__all__ = [
    'MimicWatchHook', 'PhaseCheckpointHook', 'PhaseHook', 'ProgressHook',
    'StageByStageTrainLoop'
]
