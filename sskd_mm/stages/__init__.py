# Copyright (c) sskd_mm authors. All rights reserved.
from .auto import find_stages
from .fit_schedule import RunLength, fit_schedule
from .layout import find_layouts, from_canonical, to_canonical
from .left_out import warn_of_left_out
from .levels import pair_levels
from .partition import HEAD, StagePartition
from .phase import Phase
from .plan import plan_phases
from .prefix import run_prefix, tapped
from .schedule import SCHEDULES, plan_mimic_phases
from .stage import Stage, parse_stages
from .tokens import tokens_to_map

__all__ = [
    'HEAD', 'Phase', 'RunLength', 'SCHEDULES', 'Stage', 'StagePartition',
    'find_layouts', 'find_stages', 'fit_schedule', 'from_canonical',
    'pair_levels', 'parse_stages', 'plan_mimic_phases', 'plan_phases',
    'run_prefix', 'tapped', 'to_canonical', 'tokens_to_map',
    'warn_of_left_out'
]
