# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...distillers import LoadReport
from ...distillers.initial_weights import pretrained_modules
from ...stages.frozen import thawing_advice


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Reports and checks the weights that the student starts from.

    Those are ``init_cfg=dict(type='Pretrained', ...)`` of its modules, and
    then ``load_from``, or the checkpoint to resume from;
    :class:`LoadReport` defines the errors. All but the latter may have other
    classes. Layers that the student's config freezes at random weights are
    warned of. Registered by :class:`StageByStageTrainLoop`.
    """

    # After EMAHook (NORMAL), whose copy of the model must not be watched,
    # and before PhaseHook (LOW), which evaluates the teacher.
    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        #: None once training has begun.
        self._reports: Optional[List[LoadReport]] = None

    def before_run(self, runner) -> None:
        """Watch the modules that ``init_weights`` will load."""
        modules = list(pretrained_modules(runner.train_loop.distiller.student))
        self._reports = [
            LoadReport(
                module,
                f'student.{name}' if name else 'student',
                file,
                other_classes=True) for name, module, file in modules
        ]
        if runner._load_from is None and not runner._resume:
            _warn_of_random(runner, [name for name, *_ in modules])

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


def _warn_of_random(runner, loaded: Sequence[str]) -> None:
    """Name the layers that would stay random: frozen by the config, and in
    none of these modules."""
    distiller = runner.train_loop.distiller
    filled = tuple(f'{name}.' if name else '' for name in loaded)
    layers = {
        '.'.join(name.split('.')[:2]): None
        for name, _ in distiller.student.named_parameters()
        if name in distiller.partition.frozen and not name.startswith(filled)
        and name not in distiller.inheritance.sources
    }
    if layers:
        runner.logger.warning(
            f'student: its config freezes {", ".join(layers)}, but loads no '
            'weights into them, so they stay random. Thaw them, before '
            f'`model`: {thawing_advice(distiller.student)}; or set '
            'load_from, an init_cfg, or inherit.')
