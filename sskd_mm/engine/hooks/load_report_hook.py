# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Iterator, List, Tuple

from mmengine.hooks import Hook
from mmengine.model import BaseModule, PretrainedInit
from mmengine.registry import HOOKS
from torch import nn

from ...compat import class_name
from ...distillers import LoadReport


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Reports and checks what the student starts from.

    That is ``load_from``, or the checkpoint that a run resumes from, and
    ``init_cfg=dict(type='Pretrained', ...)`` of any of the student's modules;
    :class:`LoadReport` says what is an error. It comes right after the
    models are built, before anything is trained.
    :class:`StageByStageTrainLoop` registers this hook by itself.
    """

    # After EMAHook (NORMAL), whose copy of the model is not to be watched,
    # and before PhaseHook (LOW), which evaluates the teacher.
    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        self._reports: List[LoadReport] = []

    def before_run(self, runner) -> None:
        """Watch what the Runner is about to load."""
        student = runner.train_loop.distiller.student
        self._reports = [
            LoadReport(module, f'student.{name}' if name else 'student', file)
            for name, module, file in _pretrained(student)
        ]
        if runner._load_from and not runner._has_loaded:
            self._reports.append(
                LoadReport(student, 'student', runner._load_from, 'student.'))

    def before_train(self, runner) -> None:
        """See that all of it was loaded."""
        for report in self._reports:
            report.close()


def _pretrained(model: nn.Module) -> Iterator[Tuple[str, nn.Module, str]]:
    """Modules that will be initialised from a file, with their names."""
    for name, module in model.named_modules():
        if not isinstance(module, BaseModule) or module.is_init:
            continue
        cfgs = module.init_cfg or []
        for cfg in [cfgs] if isinstance(cfgs, dict) else cfgs:
            if class_name(cfg['type']) == class_name(PretrainedInit):
                yield name, module, cfg['checkpoint']
