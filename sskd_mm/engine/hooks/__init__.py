# Copyright (c) sskd_mm authors. All rights reserved.
from .bootstrap_hook import BootstrapHook
from .early_stop_hook import EarlyStopHook
from .load_report_hook import LoadReportHook
from .mimic_watch_hook import MimicWatchHook
from .phase_checkpoint_hook import PhaseCheckpointHook
from .phase_hook import PhaseHook
from .phase_memory_hook import PhaseMemoryHook
from .phase_scalars_hook import PhaseScalarsHook
from .progress_hook import ProgressHook
from .student_config_hook import StudentConfigHook

__all__ = [
    'BootstrapHook', 'EarlyStopHook', 'LoadReportHook', 'MimicWatchHook',
    'PhaseCheckpointHook', 'PhaseHook', 'PhaseMemoryHook', 'PhaseScalarsHook',
    'ProgressHook', 'StudentConfigHook'
]
