# Copyright (c) sskd_mm authors. All rights reserved.
from .head_on_features import HeadOnFeatures
from .load_report import LoadReport
from .stage_by_stage import StageByStageDistiller
from .teacher import Teacher

__all__ = ['HeadOnFeatures', 'LoadReport', 'StageByStageDistiller', 'Teacher']
