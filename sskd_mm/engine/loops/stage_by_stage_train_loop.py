# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from typing import Dict, List, Optional, Union

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from ...check_keys import arguments, check_keys
from ...compat import allow_pickle
from ...datasets import check_annotations, check_data_files
from ...distillers import StageByStageDistiller, Teacher
from ...stages import Phase, plan_phases
from ..build_optimizer import build_optimizer, build_schedulers
from ..check_optimizers import check_optimizers
from ..check_phases import check_classes, check_phases
from ..check_runner import check_runner
from ..data_feed import DataFeed, Key
from ..feature_feed import FeatureFeed
from ..feeds import Feeds
from ..find_checkpoint import find_checkpoint
from ..hooks import (EarlyStopHook, LoadReportHook, MimicWatchHook,
                     PhaseCheckpointHook, PhaseHook, PhaseMemoryHook,
                     PhaseScalarsHook, StudentConfigHook)
from ..log_schedules import log_schedules
from ..open_teacher_cache import open_teacher_cache
from ..run_state import RunState
from ..seeding import seed_everything


@LOOPS.register_module()
class StageByStageTrainLoop(EpochBasedTrainLoop):
    """Runs the phases of a :class:`StageByStageDistiller`.

    The mimic phases of the schedule come first, then the phase ``head``, and
    optionally ``finetune``, in one run of one Runner. Each phase sets what
    trains, builds optimizer, learning-rate schedule and DDP wrapper, and
    ends with a checkpoint.

    A phase's ``optim_wrapper`` and ``dataloader`` are merged into the
    config's; an ``optimizer`` or ``dataset`` of another ``type``, and a
    ``param_scheduler``, replace the config's. Schedulers count epochs and
    iterations from the beginning of the phase, and end with it unless ``end``
    is given. A phase without a ``param_scheduler`` runs through the config's
    in its own length, see :func:`fit_schedule`. A phase of ``max_iters`` is
    one long epoch.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): Training data.
        mimic (dict): Settings of each mimic phase: its length, ``max_epochs``
            or ``max_iters`` (one long epoch), and optionally ``dataloader``,
            ``optim_wrapper``, ``param_scheduler`` and ``cached_passes``. With
            the latter the teachers run in that many passes over the data
            only; later passes replay the same batches, augmented alike and in
            another order, with cached features, see :class:`TeacherCache`.
            Consecutive mimic phases with the same data share their passes.
        head (dict): The same for the head phase; ``max_epochs=0`` skips it.
            With ``cached_passes``, for a classifier of mmpretrain, the frozen
            part runs in that many passes only, see :class:`FeatureFeed`.
        finetune (dict, optional): The same for a last phase, in which the
            whole student trains on its task, with the losses of a
            :class:`JointDistiller` if any. Not part of the paper. Defaults to
            None.
        phases (dict[str, dict], optional): The same for single phases by
            name; overrides ``mimic``, ``head`` and ``finetune``.
        schedule (str or list[str]): The order of mimic phases, see
            :func:`plan_mimic_phases`; a list chains several. Defaults to
            ``'sequential'``, the paper's.
        evaluate_teacher (bool): Whether to validate the teacher before
            training. Defaults to True.
        accept_weak_teacher (bool): Whether to train with a teacher that is no
            better than chance, see :func:`check_teacher_metrics`. Defaults to
            False.
        accept_other_classes (bool): Whether to train, with a warning, if the
            classes of heads, training set and validation set differ, see
            :func:`check_val_classes`. Defaults to False.
        val_begin (int): The first epoch to validate after, in phases after
            mimicking, or in the last phase. Defaults to 1.
        val_interval (int, optional): Epochs, or iterations with
            ``max_iters``, between validations in these phases. Each also ends
            with one. Defaults to 1 epoch or 1,000 iterations.
        cache_dir (str, optional): A folder for the cached features of the
            teachers, which later runs with the same teachers, data and
            settings reuse. Defaults to None, which caches in memory.
        cache_limit (float): Maximum size of that folder in GiB; a run that
            needs more is refused. Defaults to 50.

    Example:
        >>> train_cfg = dict(
        >>>     type='StageByStageTrainLoop',
        >>>     mimic=dict(max_epochs=2),
        >>>     head=dict(
        >>>         max_epochs=4,
        >>>         optim_wrapper=dict(optimizer=dict(lr=0.02))),
        >>>     finetune=dict(
        >>>         max_epochs=2,
        >>>         optim_wrapper=dict(optimizer=dict(lr=0.002))),
        >>>     phases={'mimic/neck': dict(max_epochs=3)})
    """

    def __init__(self,
                 runner,
                 dataloader: Union[DataLoader, Dict],
                 mimic: dict,
                 head: dict,
                 finetune: Optional[dict] = None,
                 phases: Optional[Dict[str, dict]] = None,
                 schedule: Union[str, List[str]] = 'sequential',
                 evaluate_teacher: bool = True,
                 accept_weak_teacher: bool = False,
                 accept_other_classes: bool = False,
                 val_begin: int = 1,
                 val_interval: Optional[int] = None,
                 cache_dir: Optional[str] = None,
                 cache_limit: float = 50,
                 **unknown) -> None:
        _check_arguments(type(self), unknown)
        check_data_files(runner.cfg)
        check_annotations(
            runner.cfg, accept_other_classes=accept_other_classes)
        check_runner(runner)
        allow_pickle(runner.cfg.get('allow_pickle', []))
        self.distiller = _find_distiller(runner.model)
        self.schedule = schedule
        self.evaluate_teacher = evaluate_teacher
        self.accept_weak_teacher = accept_weak_teacher
        self.accept_other_classes = accept_other_classes
        self.cache_dir, self.cache_limit = cache_dir, cache_limit
        self._find_checkpoint(runner)
        self.feeds = Feeds(runner, dataloader, accept_other_classes)
        self.feed: Union[DataFeed, FeatureFeed] = self.feeds.base
        super().__init__(
            runner,
            self.feed.loader,
            max_epochs=0,
            val_begin=val_begin,
            val_interval=val_interval)
        if 'dataloader' not in head:
            # Before the teachers are built, which takes longer.
            check_classes(self, self.feed.dataset)
        self.distiller.prepare(self.feed.sample())
        self.phases = plan_phases(
            dict(
                dataloader=dataloader,
                optim_wrapper=copy.deepcopy(runner.optim_wrapper),
                param_scheduler=copy.deepcopy(runner.param_schedulers)),
            list(self.distiller.stages), [
                name for name in self.distiller.stages
                if self.distiller.partition.in_head[name]
            ],
            mimic=mimic,
            head=head,
            finetune=finetune,
            phases=phases,
            schedule=schedule,
            iters_of_pass=lambda phase: len(self.feed_of(phase)))
        self.distiller.prepare_phases(
            self.phases, len(self.feed_of(self.phases[-1]).dataset))
        check_phases(self)
        log_schedules(self.phases, runner.logger)
        self._max_epochs = self.phases[-1].end
        self._max_iters = self.phases[-1].end_iter
        self.state = RunState(self.phases, self.distiller)
        self._register_hooks()

    def _find_checkpoint(self, runner) -> None:
        """Find the checkpoint to resume from and use its seed, which decides
        the order of images."""
        if not runner._resume:
            return
        path, checkpoint = find_checkpoint(runner.work_dir, runner._load_from)
        runner._load_from = path
        seed = checkpoint.get('meta', {}).get('seed')
        if seed is not None and seed != runner.seed:
            if runner._randomness_cfg.get('seed') is not None:
                runner.logger.warning(
                    f'The checkpoint was saved with seed {seed}, which '
                    f'overrides randomness.seed={runner.seed}.')
            runner._randomness_cfg.update(seed=seed)
            runner.set_randomness(**runner._randomness_cfg)

    def _register_hooks(self) -> None:
        runner = self.runner
        watch, memory, notes = MimicWatchHook(), PhaseMemoryHook(), PhaseHook()
        for hook in (watch, memory, PhaseScalarsHook(), notes,
                     LoadReportHook(), StudentConfigHook(), self.state):
            runner.register_hook(hook)
        self.state.add('watch', watch)
        self.state.add('memory', memory)
        self.state.add('sums', notes)
        for number, hook in enumerate(list(runner.hooks)):
            if isinstance(hook, CheckpointHook):
                PhaseCheckpointHook.adopt(hook)
            elif isinstance(hook, EarlyStoppingHook):
                per_phase = EarlyStopHook(hook)
                runner.register_hook(per_phase)
                self.state.add(f'early_stop_{number}', per_phase)

    # --- Data -------------------------------------------------------------

    def feed_of(self, phase: Phase) -> DataFeed:
        """The training data of a phase."""
        return self.feeds.of(phase.dataloader)

    # --- Position, owned by the run state ---------------------------------

    @property
    def phase(self) -> Phase:
        """Phase: The phase of the next iteration."""
        return self.state.phase

    @property
    def epoch(self) -> int:
        """int: Finished epochs of all phases."""
        return self.state.epoch

    @property
    def iter(self) -> int:
        """int: Finished iterations of all phases."""
        return self.state.iter

    # --- The life of a run ------------------------------------------------

    def run(self) -> torch.nn.Module:
        """Run all phases; a resumed run continues where it stopped."""
        runner, state = self.runner, self.state
        self.check_optimizers()
        if not state.resumed:
            self.distiller.inherit_weights()
        self.distiller.compile_stages()
        runner.call_hook('before_train')
        state.stop.listen()
        try:
            over = state.ended and not self._is_validation_due()
            for phase in self.phases[state.index + over:]:
                self.enter_phase(phase)
                self.run_phase(phase)
        finally:
            state.stop.ignore()
        runner.call_hook('after_train')
        return runner.model

    def check_optimizers(self) -> None:
        """See :func:`check_optimizers`."""
        check_optimizers(self)

    def enter_phase(self, phase: Phase) -> None:
        """Set what trains, build DDP wrapper, optimizer and schedulers, and
        restore them in a resumed run."""
        runner, distiller = self.runner, self.distiller
        self.state.enter(phase)
        distiller.enter_phase(phase)
        self._open_feed(phase)
        runner.optim_wrapper = build_optimizer(distiller, phase.optim_wrapper)
        runner.param_schedulers = None
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        runner.param_schedulers = build_schedulers(runner, phase)
        self._open_cache(phase)
        runner.call_hook('before_phase', phase=phase)
        self.state.restore(runner)
        # Accumulation counts from the phase's beginning.
        runner.optim_wrapper.initialize_count_status(runner.model,
                                                     self.state.done,
                                                     phase.max_iters)

    def _open_feed(self, phase: Phase) -> None:
        runner, data = self.runner, self.feed_of(phase)
        data.enter(phase, self.distiller.reads_annotations(phase))
        # For hooks and for the scaling of learning rates.
        self.dataloader, runner._train_dataloader = (data.loader,
                                                     phase.dataloader)
        if phase.caches_features:
            # Only the head runs in an iteration: FeatureFeed wraps it.
            runner.model = self.distiller
            self.feed = FeatureFeed(data, phase, self.distiller, runner)
            return
        self.feed = data
        if runner.distributed:
            # Flipping requires_grad under a live DDP is unsafe.
            runner.model = runner.wrap_model(
                copy.deepcopy(runner.cfg.get('model_wrapper_cfg')),
                self.distiller)

    def _open_cache(self, phase: Phase) -> None:
        """Cache the teachers' features if the phase asks for it; phases that
        share their passes share the cache."""
        teachers = self.distiller.teachers
        if not phase.caches_teachers:
            teachers.set_cache(None)
        elif teachers.cache is None or self._cache_begin != phase.cache_begin:
            teachers.set_cache(open_teacher_cache(self, phase))
            self._cache_begin = phase.cache_begin

    def run_phase(self, phase: Phase) -> None:
        """Run a phase, or the rest of it in a resumed run."""
        state = self.state
        while not state.ended:
            self._validate()
            # An EarlyStoppingHook ends its phase, not the later ones.
            if not (self.stop_training and phase.by_epoch and state.done):
                self.run_epoch()
            left = phase.max_iters - state.done
            if self.stop_training or not left:
                if left:
                    self.runner.logger.warning(
                        f'A hook stopped the phase {phase.name!r} '
                        f'{left} iterations before its end.')
                state.ended = True
                self.runner.call_hook('after_phase', phase=phase)
        self._validate()
        self.stop_training = False

    def run_epoch(self) -> None:
        """Run one epoch, or the rest of it in a resumed run."""
        runner, state = self.runner, self.state
        begin = state.epochs * state.phase.epoch_length
        seed_everything(runner.seed, self.epoch)
        runner.call_hook('before_train_epoch')
        runner.model.train()
        # Stopped by the validation that a resumed run begins with.
        stopped = self.stop_training and state.done > begin
        end = state.done if stopped else begin + state.phase.epoch_length
        for key, batch in self.feed.batches(state.done, end):
            self.run_iter(state.done - begin, batch, key)
            if not state.phase.by_epoch and self._validate():
                runner.model.train()
            if self.stop_training and not state.phase.by_epoch:
                break
        self._report_cache()
        runner.call_hook('after_train_epoch')
        state.epochs += 1

    def run_iter(self, idx: int, data_batch: dict, key: Key) -> None:
        """Run one iteration.

        Args:
            idx (int): Its number in the epoch.
            data_batch (dict): A batch of the feed.
            key (tuple[int]): The batch's key, which seeds the iteration.
        """
        runner, teachers = self.runner, self.distiller.teachers
        seed_everything(runner.seed, *key)
        runner.call_hook(
            'before_train_iter', batch_idx=idx, data_batch=data_batch)
        model = runner.model if self.feed.model is None else self.feed.model
        teachers.begin_batch(key, data_batch)
        outputs = model.train_step(
            data_batch, optim_wrapper=runner.optim_wrapper)
        teachers.end_batch()
        runner.call_hook(
            'after_train_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs=outputs)
        self.state.done += 1

    def _report_cache(self) -> None:
        """Log how much is cached, and how often that could not be used."""
        cache, logger = self.distiller.teachers.cache, self.runner.logger
        if cache is None:
            return
        if cache.missed:
            logger.warning(
                f'cached_passes: {cache.missed} batches of this epoch '
                'differed from the cached ones, because a hook, the data set '
                'or the data preprocessor changed their images. The teachers '
                'ran again, so only time is lost. Remove cached_passes if '
                'this continues.')
            cache.missed = 0
        done = self.state.done // len(self.feed_of(self.phase))
        if self.phase.begin_pass + done - self.phase.cache_begin <= (
                self.phase.cached_passes):
            logger.info(
                f'{done} of {self.phase.cached_passes} passes over the '
                f"training set cached: the teachers' features are held "
                f'{cache.location}, {cache.num_bytes / 2**20:.1f} MiB per '
                'process.')

    # --- Validation -------------------------------------------------------

    def _is_validation_due(self) -> bool:
        state, phase = self.state, self.state.phase
        if self.runner.val_loop is None or state.validated == state.done:
            return False
        if not state.done:
            # Score the mimicked features with the inherited head, untrained.
            before = self.phases[:state.index]
            return bool(before and before[-1].is_mimic and not phase.is_mimic
                        and self.distiller.inherits_head)
        if phase.is_mimic and phase is not self.phases[-1]:
            return False  # The head is not trained yet.
        if state.done == phase.max_iters or state.ended:
            return state.ended
        if phase.by_epoch:
            done, interval = state.epochs, self.val_interval or 1
            if state.done % phase.epoch_length:
                return False
        else:
            done, interval = state.done, self.val_interval or 1000
        return done >= self.val_begin and done % interval == 0

    def _validate(self) -> bool:
        """Validate the student if it is due; return whether it was."""
        due = self._is_validation_due()
        if due:
            self.runner.val_loop.run()
        return due

    def validate_teacher(self, teacher: Teacher) -> Dict[str, float]:
        """A teacher's metrics on the validation set. No validation hooks run,
        so that the teacher is not taken for the student's best."""
        loop = self.runner.val_loop
        evaluator: Evaluator = loop.evaluator
        for batch in loop.dataloader:
            evaluator.process(
                data_samples=teacher.predict(batch), data_batch=batch)
        return evaluator.evaluate(len(loop.dataloader.dataset))


def _find_distiller(model: torch.nn.Module) -> StageByStageDistiller:
    distiller = model.module if is_model_wrapper(model) else model
    if not isinstance(distiller, StageByStageDistiller):
        raise TypeError(
            'StageByStageTrainLoop trains a StageByStageDistiller, but the '
            f'model is a {type(distiller).__name__}. Write '
            "model=dict(type='StageByStageDistiller', student=..., "
            'teacher=...).')
    return distiller


def _check_arguments(cls: type, unknown: dict) -> None:
    plain = {'by_epoch', 'max_epochs', 'max_iters', 'dynamic_intervals'}
    if plain & set(unknown):
        raise ValueError(
            f'train_cfg has {", ".join(sorted(plain & set(unknown)))}, which '
            'is for plain training; here each phase has its own length: '
            "mimic=dict(max_epochs=...). If it comes from the base config, "
            'write train_cfg=dict(_delete_=True, ...).')
    valid = [
        name for name in arguments(cls, StageByStageTrainLoop)
        if name not in ('runner', 'dataloader')
    ]
    check_keys('train_cfg', unknown, valid)
