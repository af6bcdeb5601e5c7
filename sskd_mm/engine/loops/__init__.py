# Copyright (c) sskd_mm authors. All rights reserved.
from .stage_by_stage_train_loop import StageByStageTrainLoop

__all__ = ['StageByStageTrainLoop']
