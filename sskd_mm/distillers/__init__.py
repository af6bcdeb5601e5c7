# Copyright (c) sskd_mm authors. All rights reserved.
from .head_on_features import HeadOnFeatures
from .joint import JointDistiller
from .load_report import LoadReport
from .method import lay_method_over
from .spread_blocks import spread_blocks
from .stage_by_stage import StageByStageDistiller
from .teacher import Teacher
from .teachers import Teachers

__all__ = [
    'HeadOnFeatures', 'JointDistiller', 'LoadReport', 'StageByStageDistiller',
    'Teacher', 'Teachers', 'lay_method_over', 'spread_blocks'
]
