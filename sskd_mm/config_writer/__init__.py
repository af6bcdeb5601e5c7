# Copyright (c) sskd_mm authors. All rights reserved.
from .check_teacher_classes import check_teacher_classes, taught_classes
from .inheritable import find_inheritable
from .recipe import Recipe, choose_recipe
from .student import read_student, read_teacher
from .thaw import find_thawing
from .training_length import TrainingLength
from .write_config import write_config

__all__ = [
    'Recipe', 'TrainingLength', 'check_teacher_classes', 'choose_recipe',
    'find_inheritable', 'find_thawing', 'read_student', 'read_teacher',
    'taught_classes', 'write_config'
]
