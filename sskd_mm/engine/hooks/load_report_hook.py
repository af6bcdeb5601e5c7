# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Optional

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...distillers import LoadReport
from ...distillers.initial_weights import pretrained_modules


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Reports and checks the weights that the student starts from.

    Those are ``init_cfg=dict(type='Pretrained', ...)`` of its modules, and
    then ``load_from``, or the checkpoint to resume from;
    :class:`LoadReport` defines the errors. All but the latter may have other
    classes. Registered by :class:`StageByStageTrainLoop`.
    """

    # After EMAHook (NORMAL), whose copy of the model must not be watched,
    # and before PhaseHook (LOW), which evaluates the teacher.
    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        #: None once training has begun.
        self._reports: Optional[List[LoadReport]] = None

    def before_run(self, runner) -> None:
        """Watch the modules that ``init_weights`` will load."""
        self._reports = [
            LoadReport(
                module,
                f'student.{name}' if name else 'student',
                file,
                other_classes=True) for name, module, file in
            pretrained_modules(runner.train_loop.distiller.student)
        ]

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Check them, and watch the checkpoint being loaded."""
        if self._reports is None:
            return
        self._close()
        self._reports = [
            LoadReport(
                runner.train_loop.distiller.student,
                'student',
                runner._load_from or f'the last one in {runner.work_dir}',
                # When resuming, the optimizer must fit, too.
                other_classes=not runner._resume)
        ]

    def before_train(self, runner) -> None:
        """Check that all of it was loaded."""
        self._close()
        self._reports = None

    def _close(self) -> None:
        for report in self._reports or ():
            report.close()
