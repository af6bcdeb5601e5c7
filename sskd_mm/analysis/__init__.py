# Copyright (c) sskd_mm authors. All rights reserved.
from .alignment import Alignment, measure_alignment
from .plan import describe_plan, print_plan

__all__ = ['Alignment', 'describe_plan', 'measure_alignment', 'print_plan']
