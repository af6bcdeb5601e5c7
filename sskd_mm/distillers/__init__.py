# Copyright (c) sskd_mm authors. All rights reserved.
from .fold_batch_norms import fold_batch_norms
from .head_on_features import HeadOnFeatures
from .joint import JointDistiller
from .load_report import LoadReport
from .method import lay_method_over
from .spread_blocks import spread_blocks
from .stage_by_stage import StageByStageDistiller
from .teacher import Teacher

__all__ = [
    'HeadOnFeatures', 'JointDistiller', 'LoadReport', 'StageByStageDistiller',
    'Teacher', 'fold_batch_norms', 'lay_method_over', 'spread_blocks'
]
