# Copyright (c) sskd_mm authors. All rights reserved.
from .stage_by_stage import StageByStageDistiller
from .teacher import Teacher

__all__ = ['StageByStageDistiller', 'Teacher']
