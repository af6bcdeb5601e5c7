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
    """Leads a :class:`StageByStageDistiller` through its phases.

    All mimic phases of the schedule come first, then the phase ``head``, and
    ``finetune`` if it is asked for, in one run of one Runner. At each
    phase's beginning it is set what trains; optimizer, learning-rate
    schedule and DDP wrapper are built anew. Each phase ends with a
    checkpoint.

    A phase's ``optim_wrapper`` and ``dataloader`` are merged into the
    config's, so that only what differs has to be written; an ``optimizer`` or
    ``dataset`` of another ``type`` and its ``param_scheduler`` replace the
    config's. Epochs and iterations of a scheduler count from the beginning of
    the phase, and it ends with the phase where ``end`` is not given. A phase
    without a ``param_scheduler`` of its own runs through the config's in its
    own length, see :func:`fit_schedule`. A phase whose length is
    ``max_iters`` is one long epoch.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): Training data.
        mimic (dict): Of each mimic phase its length, ``max_epochs`` or
            ``max_iters``, and optionally ``dataloader`` (what differs from
            the config's training data), ``optim_wrapper``,
            ``param_scheduler`` and ``cached_passes``: the teachers then run
            in so many passes over the data only. Those that follow have the
            same batches, augmented alike and in another order, and the
            features that the teachers gave for them, see
            :class:`TeacherCache`. Mimic phases in a row with the same data
            share their passes.
        head (dict): The same for the head phase. ``max_epochs=0`` leaves it
            out. With ``cached_passes``, for a classifier of mmpretrain, the
            frozen part runs in so many passes only, and the others train the
            head on the features of these, see :class:`FeatureFeed`.
        finetune (dict, optional): The same for a last phase in which the
            whole student trains on its own task, what its config freezes
            excepted, with the losses that a :class:`JointDistiller` adds. Not
            in the paper, so there is none by default.
        phases (dict[str, dict], optional): The same for single phases by
            their names, over what ``mimic``, ``head`` and ``finetune`` say.
        schedule (str or list[str]): How mimic phases are ordered, see
            :func:`plan_mimic_phases`. A list runs one schedule after the
            other. Defaults to ``'sequential'``, the paper's form.
        evaluate_teacher (bool): Whether to validate the teacher before
            training. Defaults to True.
        accept_weak_teacher (bool): Whether to train with a teacher that is
            as good as random, see :func:`check_teacher_metrics`. Defaults to
            False.
        accept_other_classes (bool): Whether to train, with a warning, where
            the classes of the student's heads, the training set and the
            validation set are not the same, see :func:`check_val_classes`.
            Defaults to False.
        val_begin (int): The first epoch of a phase behind mimicking, or of
            the last one where no other follows, after which the student is
            validated. Defaults to 1.
        val_interval (int, optional): Epochs between two validations in these
            phases; iterations in one whose length is ``max_iters``. Defaults
            to 1 epoch or 1,000 iterations. Each phase ends with a validation.
        cache_dir (str, optional): A folder in which the teachers' features
            of cached passes are kept, instead of in memory, and read by later
            runs that have the same teachers, data and settings, such
            as those of another student, see :class:`DiskTeacherCache`.
            Defaults to none.
        cache_limit (float): GiB that this folder may have. A run that would
            need more is refused. Defaults to 50.

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
            # Before a teacher is built, which takes longer.
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
        """Find what a run is resumed from and take up its seed, from which
        the order of images is drawn."""
        if not runner._resume:
            return
        path, checkpoint = find_checkpoint(runner.work_dir, runner._load_from)
        runner._load_from = path
        seed = checkpoint.get('meta', {}).get('seed')
        if seed is not None and seed != runner.seed:
            if runner._randomness_cfg.get('seed') is not None:
                runner.logger.warning(
                    f'The checkpoint was saved with seed {seed}, which holds '
                    f'instead of randomness.seed={runner.seed}.')
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
                waiting = EarlyStopHook(hook)
                runner.register_hook(waiting)
                self.state.add(f'early_stop_{number}', waiting)

    # --- Data -------------------------------------------------------------

    def feed_of(self, phase: Phase) -> DataFeed:
        """Where the images of a phase come from."""
        return self.feeds.of(phase.dataloader)

    def sample(self) -> dict:
        """The first training image as a batch, twice over."""
        return self.feeds.base.sample()

    # --- Position, which the run state owns -------------------------------

    @property
    def phase(self) -> Phase:
        """Phase: The one that the next iteration belongs to."""
        return self.state.phase

    @property
    def _epoch(self) -> int:
        return self.state.epoch

    @property
    def _iter(self) -> int:
        return self.state.iter

    # MMEngine sets them when it resumes.
    @_epoch.setter
    def _epoch(self, value: int) -> None:
        pass

    @_iter.setter
    def _iter(self, value: int) -> None:
        pass

    # --- The life of a run ------------------------------------------------

    def run(self) -> torch.nn.Module:
        """Run all phases, from wherever a resumed run has got to."""
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
        """Set what trains, build the DDP wrapper, optimizer and schedulers
        anew, and load what a resumed run has saved of them."""
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
        # Hooks see the phase's own, and so does the scaling of rates.
        self.dataloader, runner._train_dataloader = (data.loader,
                                                     phase.dataloader)
        if phase.caches_features:
            # The head is wrapped instead, which alone runs in an iteration.
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
        """Keep the teachers' features, if the phase wants that, in the cache
        of the phases that it shares its passes with."""
        teachers = self.distiller.teachers
        if not phase.caches_teachers:
            teachers.set_cache(None)
        elif teachers.cache is None or self._cache_begin != phase.cache_begin:
            teachers.set_cache(open_teacher_cache(self, phase))
            self._cache_begin = phase.cache_begin

    def run_phase(self, phase: Phase) -> None:
        """Run a phase, or what a resumed run has left of it."""
        state = self.state
        while not state.ended:
            self._validate()
            # An EarlyStoppingHook ends its phase, not those that follow.
            if not (self.stop_training and phase.by_epoch and state.done):
                self.run_epoch()
            if self.stop_training or state.done == phase.max_iters:
                self._end_phase(phase)
        self._validate()
        self.stop_training = False

    def _end_phase(self, phase: Phase) -> None:
        left = phase.max_iters - self.state.done
        if left:
            self.runner.logger.warning(
                f'A hook has stopped the phase {phase.name!r} '
                f'{left} iterations before its end.')
        self.state.ended = True
        self.runner.call_hook('after_phase', phase=phase)

    def run_epoch(self) -> None:
        """Run one epoch, or what a resumed run has left of it."""
        runner, state = self.runner, self.state
        begin = state.epochs * state.phase.epoch_length
        seed_everything(runner.seed, self.epoch)
        runner.call_hook('before_train_epoch')
        runner.model.train()
        # Told so in the validation that a resumed run begins with.
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
            key (tuple[int]): What the feed knows it by. Randomness follows
                from it.
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
        """Say how much of the teachers' features is held, and whether it is
        of use."""
        cache, logger = self.distiller.teachers.cache, self.runner.logger
        if cache is None:
            return
        if cache.missed:
            logger.warning(
                f'cached_passes: {cache.missed} batches of this epoch were '
                'not those whose features were kept, since a hook, the data '
                'set or the data preprocessor made something else of their '
                'images. The teachers computed them anew, so nothing is wrong '
                'but the time. Leave cached_passes out if this goes on.')
            cache.missed = 0
        done = self.state.done // len(self.feed_of(self.phase))
        if self.phase.begin_pass + done - self.phase.cache_begin <= (
                self.phase.cached_passes):
            logger.info(
                f'{done} of {self.phase.cached_passes} cached passes over the '
                "training set: the teachers' features are held "
                f'{cache.location}, {cache.num_bytes / 2**20:.1f} MiB in each '
                'process.')

    # --- Validation -------------------------------------------------------

    def _is_validation_due(self) -> bool:
        state, phase = self.state, self.state.phase
        if self.runner.val_loop is None or state.validated == state.done:
            return False
        if not state.done:
            # How good was the mimicking? See what the teacher's head scores
            # before it is trained.
            before = self.phases[:state.index]
            return bool(before and before[-1].is_mimic and not phase.is_mimic
                        and self.distiller.inherits_head)
        if phase.is_mimic and phase is not self.phases[-1]:
            return False  # Heads are yet to be trained.
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
        """Validate the student, if it is time to."""
        due = self._is_validation_due()
        if due:
            self.runner.val_loop.run()
        return due

    def validate_teacher(self, teacher: Teacher) -> Dict[str, float]:
        """A teacher's metrics on the validation set.

        The hooks of the student's validation take no part in it: its best
        checkpoint must not be measured against the teacher.
        """
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
            'a plain training takes; here each phase has its own: '
            'mimic=dict(max_epochs=...). If it is the base config\'s, write '
            'train_cfg=dict(_delete_=True, ...).')
    valid = [
        name for name in arguments(cls, StageByStageTrainLoop)
        if name not in ('runner', 'dataloader')
    ]
    check_keys('train_cfg', unknown, valid)
