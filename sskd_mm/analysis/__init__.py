# Copyright (c) sskd_mm authors. All rights reserved.
from .alignment import Alignment, measure_alignment
from .check_teacher_metrics import check_teacher_metrics
from .curves import plot_losses, read_losses
from .detections import draw_detections
from .face_curves import plot_faces
from .plan import describe_plan, print_plan

__all__ = [
    'Alignment', 'check_teacher_metrics', 'describe_plan', 'draw_detections',
    'measure_alignment', 'plot_faces', 'plot_losses', 'print_plan',
    'read_losses'
]
