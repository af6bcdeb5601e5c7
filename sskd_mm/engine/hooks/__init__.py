# Copyright (c) sskd_mm authors. All rights reserved.
from .phase_checkpoint_hook import PhaseCheckpointHook
from .phase_hook import PhaseHook

__all__ = ['PhaseCheckpointHook', 'PhaseHook']
