# Copyright (c) sskd_mm authors. All rights reserved.
import platform
import time
from typing import Any, Dict, Optional, Union

import mmengine
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import dump, join_path
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from torch import Tensor

from ...analysis import (check_teacher_metrics, measure_alignment,
                         scalar_metrics)
from ...compat import installed_distributions
from ...datasets import (head_classes, misfit_heads, read_multi_labels,
                         reads_classes)
from ...stages import Phase
from ...version import __version__
from ..check_monitored import check_monitored
from ..try_later_phases import try_later_phases


@HOOKS.register_module()
class PhaseHook(Hook):
    """Checks and measures each phase, and writes ``result.json``.

    At the end of each phase it asserts that everything frozen is bit-equal
    to what it was at the beginning, and measures the alignment of student and
    teacher. With an ``EMAHook``, the student takes its averaged weights
    first. Results are kept in the message hub, so a resumed run has them.
    Registered by :class:`StageByStageTrainLoop`.

    ``result.json`` holds a list ``phases`` (name, epochs, iterations,
    seconds without validations, ``peak_memory_mib`` and ``peak_memory_of``
    (see :class:`PhaseMemoryHook`), mean loss of the first and the last epoch,
    alignment of each tap, ``cached_passes`` if any), the metrics of
    ``teacher`` (a list, if there are several), of the ``inherited_head``
    before it is trained, and of the ``student``, the seed and the versions.

    Args:
        alignment_batches (int): Validation batches on which alignment is
            measured. Defaults to 16.
    """

    # Before CheckpointHook (VERY_LOW), so that the checkpoint at the end of a
    # phase includes the phase's results.
    priority = 'LOW'

    def __init__(self, alignment_batches: int = 16) -> None:
        self.alignment_batches = alignment_batches
        self._phase: Optional[Phase] = None
        self._frozen: Dict[str, str] = {}
        self._reset()

    def _reset(self) -> None:
        """Reset the sums of an epoch."""
        self._loss_sum: Union[float, Tensor] = 0.
        self._iters = 0
        self._seconds = 0.
        self._start: Optional[float] = None
        self._paused = False

    def state_dict(self) -> Dict[str, float]:
        """dict: The sums of the current epoch."""
        return dict(
            loss_sum=float(self._loss_sum),
            iters=self._iters,
            seconds=self._elapsed())

    def load_state_dict(self, sums: Dict[str, float]) -> None:
        """Restore the sums of an epoch."""
        self._loss_sum = sums['loss_sum']
        self._iters = sums['iters']
        self._seconds = sums['seconds']

    def _elapsed(self) -> float:
        running = 0. if self._start is None else time.time() - self._start
        return self._seconds + running

    def before_train(self, runner) -> None:
        """Try later phases, and evaluate the teachers.

        Raises:
            ValueError: A later phase or the validation would fail, see
                :func:`try_later_phases`; or a teacher is no better than chance
                and ``accept_weak_teacher`` is not set.
        """
        loop = runner.train_loop
        try_later_phases(loop)
        if (runner.val_loop is None or not loop.evaluate_teacher
                or not loop.distiller.teachers
                or self._notes(runner, 'teachers')):
            return
        notes = [
            self._evaluate(runner, teacher)
            for teacher in loop.distiller.teachers
        ]
        runner.message_hub.update_info('sskd/teachers', notes)

    def _evaluate(self, runner, teacher) -> Optional[Dict[str, float]]:
        loop, data = runner.train_loop, runner.val_dataloader.dataset
        heads = head_classes(teacher.model)
        misfits = misfit_heads(teacher.model, data)
        # One head that fits is enough: others may be for other labels.
        if misfits.keys() == heads.keys() and misfits and reads_classes(
                runner.val_evaluator.metrics):
            path, number = next(iter(misfits.items()))
            runner.logger.warning(
                f'The teacher is not evaluated: its {path} has {number} '
                f'classes, the validation set '
                f'{len(data.metainfo["classes"])} others, so its metrics '
                'would mean nothing. Its features are used all the same; '
                'check its checkpoint and preprocessing yourself.')
            return None
        runner.logger.info('Evaluating the teacher ...')
        metrics = loop.validate_teacher(teacher)
        check_monitored(runner.hooks, loop.phases, metrics)
        scalars = scalar_metrics(metrics)
        runner.logger.info(f'Teacher: {_line(scalars)}')
        if not loop.accept_weak_teacher:
            fitting = [heads[path] for path in heads.keys() - misfits.keys()]
            check_teacher_metrics(metrics, max(fitting, default=None),
                                  read_multi_labels(data))
        return scalars

    def before_phase(self, runner, phase: Phase) -> None:
        """Log the phase, and digest everything frozen."""
        loop = runner.train_loop
        self._phase = phase
        self._reset()
        self._frozen = loop.distiller.partition.fingerprint(phase.trains)
        index = loop.phases.index(phase)
        trains = sum(p.numel() for group in
                     runner.optim_wrapper.optimizer.param_groups
                     for p in group['params'])
        length = (f'epochs {phase.begin + 1} to {phase.end}' if phase.by_epoch
                  else f'{phase.max_iters} iterations')
        runner.logger.info(
            f'Phase {index + 1} of {len(loop.phases)}: {phase.name}, '
            f'{length}, {trains:,} parameters train.')

    def before_train_epoch(self, runner) -> None:
        """Start the clock."""
        self._start = time.time()

    def before_val(self, runner) -> None:
        """Stop the clock in a validation within an epoch."""
        self._paused = self._start is not None
        self._seconds, self._start = self._elapsed(), None

    def after_val(self, runner) -> None:
        """Let it go on."""
        if self._paused:
            self._start = time.time()

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Add up the loss on its device, without waiting for it."""
        self._loss_sum = self._loss_sum + outputs['loss'].detach().double()
        self._iters += 1

    def after_train_epoch(self, runner) -> None:
        """Record the epoch."""
        epoch = dict(
            phase=self._phase.name,
            loss=float(self._loss_sum) / max(self._iters, 1),
            seconds=self._elapsed())
        epochs = [*(self._notes(runner, 'epochs') or []), epoch]
        runner.message_hub.update_info('sskd/epochs', epochs)
        self._reset()

    def after_phase(self, runner, phase: Phase) -> None:
        """Check and measure the phase, and record it.

        Raises:
            RuntimeError: A frozen tensor has changed.
        """
        distiller = runner.train_loop.distiller
        self._take_average(runner)
        runner.train_loop.state.sync_buffers()
        self._check_frozen(distiller, phase)
        epochs = [
            e for e in self._notes(runner, 'epochs') or []
            if e['phase'] == phase.name
        ]
        note = dict(
            name=phase.name,
            epochs=len(epochs),
            iterations=runner.train_loop.state.done,
            seconds=sum(e['seconds'] for e in epochs),
            **self._notes(runner, 'peak_memory'),
            loss_first=epochs[0]['loss'],
            loss_last=epochs[-1]['loss'])
        if phase.cached_passes:
            note['cached_passes'] = phase.cached_passes
        if distiller.teachers and runner.val_loop is not None:
            note['alignment'] = measure_alignment(
                distiller, runner.val_dataloader, phase.taps
                or tuple(distiller.stages), self.alignment_batches)
            if not phase.is_mimic:
                _drop_unadapted(note['alignment'], distiller)
            for tap, values in note['alignment'].items():
                runner.logger.info(
                    f'{phase.name}: alignment of {tap} with the teacher '
                    f'after {len(epochs)} epochs: {_line(values)}')
        notes = [*(self._notes(runner, 'phases') or []), note]
        runner.message_hub.update_info('sskd/phases', notes)

    def _check_frozen(self, distiller, phase: Phase) -> None:
        now = distiller.partition.fingerprint(phase.trains)
        changed = [name for name in now if now[name] != self._frozen[name]]
        if changed:
            raise RuntimeError(
                f'Phase {phase.name!r} changed {len(changed)} frozen '
                f'tensors, e.g. {changed[:3]}. A hook or module writes '
                'to them; a frozen stage must stay bit-equal.')

    @staticmethod
    def _take_average(runner) -> None:
        """With an ``EMAHook``, load the average into the student, so that
        later phases build on it, and restart the average."""
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                average = hook.ema_model
                runner.train_loop.distiller.student.load_state_dict(
                    average.module.student.state_dict())
                average.steps.zero_()

    def after_val_epoch(self,
                        runner,
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """Record the student's metrics; those of an untrained inherited head
        separately."""
        if self._phase is None:
            return
        if not runner.train_loop.state.done:
            note = scalar_metrics(metrics)
            runner.message_hub.update_info('sskd/inherited_head', note)
            runner.logger.info(
                'The inherited head on the mimicked features, before it '
                f'trains: {_line(note)}')
            return
        note = dict(
            epoch=runner.epoch,
            iteration=runner.iter,
            **scalar_metrics(metrics))
        curve = [*(self._notes(runner, 'student') or []), note]
        runner.message_hub.update_info('sskd/student', curve)

    def after_train(self, runner) -> None:
        """Write ``result.json``."""
        if not is_main_process():
            return
        curve = self._notes(runner, 'student') or []
        inherited = self._notes(runner, 'inherited_head')
        teachers = self._notes(runner, 'teachers') or [None]
        result = dict(
            phases=self._notes(runner, 'phases') or [],
            teacher=teachers[0] if len(teachers) == 1 else teachers,
            inherited_head=inherited,
            student=curve[-1] if curve else inherited,
            student_curve=curve,
            schedule=runner.train_loop.schedule,
            seed=runner.seed,
            versions=dict(
                sskd_mm=__version__,
                torch=torch.__version__,
                python=platform.python_version(),
                mmengine=mmengine.__version__,
                **{
                    f'{package} from': name
                    for package, name in installed_distributions().items()
                }))
        dump(result, join_path(runner.work_dir, 'result.json'), indent=2)

    @staticmethod
    def _notes(runner, key: str) -> Any:
        return runner.message_hub.runtime_info.get(f'sskd/{key}')


def _drop_unadapted(alignment: Dict[str, dict], distiller) -> None:
    """Keep only CKA at taps whose adapter was never trained, as with joint
    losses."""
    for tap, values in alignment.items():
        if next(distiller.adapters_of(tap).parameters(), None) is not None:
            for key in set(values) - {'cka'}:
                del values[key]


def _line(metrics: Dict[str, float]) -> str:
    return '  '.join(f'{k}: {v:.4f}' for k, v in metrics.items())
