# Copyright (c) sskd_mm authors. All rights reserved.
from .alignment import Alignment, measure_alignment
from .check_teacher_metrics import check_teacher_metrics
from .cka_matrix import measure_cka_matrix, plot_cka_matrix
from .complexity import describe_parts, plot_complexity
from .costs import measure_costs, name_device
from .count_flops import format_gflops
from .curves import plot_losses, read_losses
from .detections import draw_detections
from .dry_run import dry_run, dry_runner
from .evaluation_options import draw_predictions, use_tta, watch_loading
from .face_curves import plot_faces
from .face_embeddings import (digest_file, embed_faces, load_face_model,
                              read_embeddings)
from .face_protocol import FaceProtocol, face_protocol
from .feature_maps import draw_feature_maps
from .latency import measure_latency
from .load_networks import build_test_loader, load_distiller, load_networks
from .mean_and_deviation import mean_and_deviation
from .measure_metrics import Measured, measure_metrics
from .module_path import ModulePath
from .onnx_export import describe_input, export_onnx
from .phase_costs import PhaseCost, count_phases, count_training, spent_at
from .phase_curves import draw_phase_curves
from .plan import count_step, describe_network, describe_plan, print_plan
from .report import write_report
from .scalar_metrics import scalar_metrics
from .stdout_console import stdout_console
from .study import Study
from .study_check import check_teacher, plan_study
from .study_report import finished_trials, read_metrics, write_study_report
from .study_run import StudyRun
from .study_trial import Trial
from .training_cost import describe_cost, fit_epochs, spent
from .training_folder import TrainingFolder
from .training_settings import describe_settings, list_differences
from .work_dir import WorkDir

__all__ = [
    'Alignment', 'FaceProtocol', 'Measured', 'ModulePath', 'PhaseCost',
    'Study', 'StudyRun', 'TrainingFolder', 'Trial', 'WorkDir',
    'build_test_loader', 'check_teacher', 'check_teacher_metrics',
    'count_phases', 'count_step', 'count_training', 'describe_cost',
    'describe_input', 'describe_network', 'describe_parts',
    'describe_plan', 'describe_settings', 'digest_file', 'draw_detections',
    'draw_feature_maps', 'draw_phase_curves', 'draw_predictions',
    'dry_run', 'dry_runner', 'embed_faces', 'export_onnx', 'face_protocol',
    'finished_trials', 'fit_epochs', 'format_gflops', 'list_differences',
    'load_distiller', 'load_face_model', 'load_networks',
    'mean_and_deviation', 'measure_alignment', 'measure_cka_matrix',
    'measure_costs', 'measure_latency', 'measure_metrics', 'name_device',
    'plan_study', 'plot_cka_matrix', 'plot_complexity', 'plot_faces',
    'plot_losses', 'print_plan', 'read_embeddings', 'read_losses',
    'read_metrics', 'scalar_metrics', 'spent', 'spent_at',
    'stdout_console', 'use_tta', 'watch_loading', 'write_report',
    'write_study_report'
]
