# Copyright (c) sskd_mm authors. All rights reserved.
from .auto import find_stages
from .left_out import find_left_out, warn_of_left_out
from .levels import pair_levels
from .partition import HEAD, StagePartition
from .phase import Phase
from .prefix import run_prefix, tapped
from .schedule import SCHEDULES, plan_mimic_phases
from .stage import Stage, parse_stages
from .tokens import tokens_to_map

__all__ = [
    'HEAD', 'Phase', 'SCHEDULES', 'Stage', 'StagePartition', 'find_left_out',
    'find_stages', 'pair_levels', 'parse_stages', 'plan_mimic_phases',
    'run_prefix', 'tapped', 'tokens_to_map', 'warn_of_left_out'
]
