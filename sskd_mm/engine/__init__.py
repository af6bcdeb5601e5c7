# Copyright (c) sskd_mm authors. All rights reserved.
from .hooks import PhaseCheckpointHook, PhaseHook
from .loops import StageByStageTrainLoop

__all__ = ['PhaseCheckpointHook', 'PhaseHook', 'StageByStageTrainLoop']
