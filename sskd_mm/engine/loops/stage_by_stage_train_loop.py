# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import itertools
import logging
import os
import random
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dist import get_rank
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS, LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from ...check_keys import arguments, check_keys, did_you_mean
from ...compat import (TruncatedCheckpointError, allow_pickle,
                       load_checkpoint_file)
from ...datasets import SeededDataset, check_data_files, check_num_classes
from ...distillers import StageByStageDistiller, Teacher
from ...stages import HEAD, Phase, plan_mimic_phases
from ..hooks import (LoadReportHook, MimicWatchHook, PhaseCheckpointHook,
                     PhaseHook, PhaseScalarsHook)
from .check_cacheable import check_cacheable
from .check_runner import check_runner
from .feature_cache import FeatureCache
from .load_batches import load_batches
from .open_teacher_cache import open_teacher_cache


@LOOPS.register_module()
class StageByStageTrainLoop(EpochBasedTrainLoop):
    """Leads a :class:`StageByStageDistiller` through its phases.

    All mimic phases of the schedule come first, then the phase ``head``, and
    ``finetune`` if it is asked for, in one run of one Runner. At each
    phase's beginning it is set what trains; optimizer, learning-rate
    schedule and DDP wrapper are built anew. Each phase ends with a
    checkpoint.

    A phase's ``optim_wrapper`` is merged into the config's, so that only
    what differs has to be written; an ``optimizer`` of another ``type`` and
    its ``param_scheduler`` replace the config's. Epochs and iterations of a
    scheduler count from the beginning of the phase, and it ends with the
    phase where ``end`` is not given.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): Training data.
        mimic (dict): ``max_epochs`` of each mimic phase, and optionally
            ``optim_wrapper``, ``param_scheduler`` and ``cached_passes``: the
            teachers then run in so many epochs of the phase only. Those that
            follow have their batches, augmented alike and in another order,
            and what the teachers computed for them, see
            :class:`TeacherCache`. A phase whose taps are among those of the
            one before it goes on with the passes of that.
        head (dict): The same for the head phase. ``max_epochs=0`` leaves it
            out. With ``cached_passes``, for a classifier of mmpretrain, the
            frozen part runs in so many epochs only, and the others train the
            head on the features of these, see :class:`FeatureCache`.
        finetune (dict, optional): The same for a last phase in which the
            whole student trains on its own task, what its config freezes
            excepted, with the losses that a :class:`JointDistiller` adds. Not
            in the paper, so there is none by default.
        phases (dict[str, dict], optional): The same for single phases by
            their names, over what ``mimic``, ``head`` and ``finetune`` say.
        schedule (str or list[str]): How mimic phases are ordered, see
            :func:`plan_mimic_phases`. A list runs one schedule after the
            other. Defaults to ``'sequential'``, the paper's form.
        block (list[str], optional): Of a first phase ``blockwise``, the
            stages to train in this run, which ends behind that phase. Other
            runs train the others, see :class:`ParallelBlocks`. Defaults to
            all stages and all phases.
        evaluate_teacher (bool): Whether to validate the teacher before
            training. Defaults to True.
        accept_weak_teacher (bool): Whether to train with a teacher that is
            as good as random, see :func:`check_teacher_metrics`. Defaults to
            False.
        val_begin (int): The first epoch of a phase behind mimicking, or of
            the last one where no other follows, after which the student is
            validated. Defaults to 1.
        val_interval (int): Epochs between two validations in these phases.
            Defaults to 1.
        cache_dir (str, optional): A folder in which what the teachers
            computed in cached passes is kept, instead of in memory, and read
            by later runs that have the same teachers, data and settings, such
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
                 block: Optional[List[str]] = None,
                 evaluate_teacher: bool = True,
                 accept_weak_teacher: bool = False,
                 val_begin: int = 1,
                 val_interval: int = 1,
                 cache_dir: Optional[str] = None,
                 cache_limit: float = 50,
                 **unknown) -> None:
        _check_arguments(type(self), unknown)
        check_data_files(runner.cfg)
        check_runner(runner)
        allow_pickle(runner.cfg.get('allow_pickle', []))
        distiller = _unwrap(runner.model)
        if not isinstance(distiller, StageByStageDistiller):
            raise TypeError(
                'StageByStageTrainLoop trains a StageByStageDistiller, but '
                f'the model is a {type(distiller).__name__}. Write '
                "model=dict(type='StageByStageDistiller', student=..., "
                'teacher=...).')
        self.dataloader_cfg = copy.deepcopy(dataloader) if isinstance(
            dataloader, dict) else None
        super().__init__(
            runner,
            _seed_dataset(dataloader, runner.seed),
            max_epochs=0,
            val_begin=val_begin,
            val_interval=val_interval)
        self.distiller = distiller
        check_num_classes(distiller.student, self.dataloader.dataset)
        self.evaluate_teacher = evaluate_teacher
        self.accept_weak_teacher = accept_weak_teacher
        self._optim_wrapper_cfg = copy.deepcopy(runner.optim_wrapper)
        self._param_scheduler_cfg = copy.deepcopy(runner.param_schedulers)
        sample = self.sample()
        distiller.prepare(sample)
        self.schedule = schedule
        self.phases = self._plan(mimic, head, finetune, phases or {}, schedule)
        self.cache_dir, self.cache_limit = cache_dir, cache_limit
        if cache_dir and not any(map(_caches_teachers, self.phases)):
            raise ValueError(
                f'train_cfg.cache_dir={cache_dir!r} is for what teachers '
                'compute in cached passes, but no phase has any: write e.g. '
                'mimic=dict(cached_passes=1, ...), or leave it out.')
        if cache_dir and self.dataloader_cfg is None:
            raise ValueError(
                'train_cfg.cache_dir: what is in a cache is told by the '
                "data's config, but train_dataloader was built by the "
                'caller. Give its config to the Runner.')
        distiller.prepare_phases(self.phases, len(self.dataloader.dataset))
        for phase in self.phases:
            if phase.name == 'head' and phase.cached_passes:
                # Each process of a machine holds all of them.
                copies = min(phase.cached_passes, phase.max_epochs) * int(
                    os.environ.get('LOCAL_WORLD_SIZE', 1))
                check_cacheable(distiller, sample,
                                copies * len(self.dataloader.dataset))
        if block is not None:
            self.phases[0] = self.take_block(block)
        self._max_epochs = self.phases[-1 if block is None else 0].end
        self._max_iters = self._max_epochs * len(self.dataloader)
        self.entered: Optional[Phase] = None
        self._cache: Optional[FeatureCache] = None
        self._validated: Optional[int] = None
        runner.register_hook(MimicWatchHook())
        runner.register_hook(PhaseScalarsHook())
        runner.register_hook(PhaseHook())
        runner.register_hook(LoadReportHook())
        for hook in runner.hooks:
            if type(hook) is CheckpointHook:
                PhaseCheckpointHook.adopt(hook)
        if runner._resume:
            runner._load_from = find_checkpoint(runner.work_dir,
                                                runner._load_from)

    # --- The plan ---------------------------------------------------------

    def sample(self) -> dict:
        """The first training image as a batch, twice over since batch norm
        cannot train on a single value a channel."""
        sample = self.dataloader.dataset[0]
        return self.dataloader.collate_fn([sample, copy.deepcopy(sample)])

    def _plan(self, mimic: dict, head: dict, finetune: Optional[dict],
              overrides: Dict[str, dict],
              schedule: Union[str, List[str]]) -> List[Phase]:
        names = list(self.distiller.stages)
        in_head = [n for n in names if self.distiller.partition.in_head[n]]
        schedules = [schedule] if isinstance(schedule, str) else schedule
        phases = []
        for each in schedules:
            planned = plan_mimic_phases(each, names, in_head)
            if len(schedules) > 1 and len(planned) > 1:
                # Two schedules of a list may name a phase for the same stage.
                planned = [
                    replace(p, name=p.name.replace('mimic/', f'mimic/{each}/'))
                    for p in planned
                ]
            phases += planned
        for name in in_head:
            if not any(name in phase.taps for phase in phases):
                raise ValueError(
                    f'schedule={schedule!r} leaves out the tap '
                    f'{self.distiller.stages[name].student!r}, which lies in '
                    'the head. Take it out of `stages`, or compare it in a '
                    "phase of its own: schedule=['joint', 'last'].")
        phases.append(Phase('head', (), (HEAD, )))
        if finetune is not None:
            phases.append(Phase('finetune', (), (*names, HEAD)))
        defaults = dict(head=head, finetune=finetune)
        valid = [phase.name for phase in phases]
        for name in overrides:
            if name not in valid:
                raise ValueError(f'train_cfg.phases: there is no phase '
                                 f'{name!r}, only {", ".join(valid)}.'
                                 f'{did_you_mean(name, valid)}')
        begin, planned = 0, []
        for phase in phases:
            phase = self._with_settings(
                phase, begin, {
                    **defaults.get(phase.name, mimic),
                    **overrides.get(phase.name, {})
                })
            if phase.max_epochs:
                planned.append(phase)
            begin = phase.end
        if not planned:
            raise ValueError('train_cfg: every phase has max_epochs=0.')
        for phase in planned:
            if self.distiller.partition.trainable(phase.trains):
                continue
            if not phase.is_mimic:
                raise ValueError(
                    f'The phase {phase.name!r} has nothing to train: the '
                    'student has no weights behind its last tap. Leave it '
                    f'out: train_cfg.{phase.name}=dict(max_epochs=0).')
            raise ValueError(
                f'The phase {phase.name!r} has nothing to train: '
                f'{", ".join(phase.trains)} has no parameters of its own. '
                "Leave it out of `stages`, or take schedule='joint', "
                "'cumulative' or 'last', in which its tap trains the "
                'stages before it.')
        return _share_caches(planned)

    def find_blocks(self) -> List[Tuple[str, ...]]:
        """Stages of the first phase that can be trained in runs of their
        own, with the same result.

        Returns:
            list[tuple[str]]: See
            :meth:`StageByStageDistiller.find_blocks`.

        Raises:
            ValueError: The first phase is not ``blockwise``, or clips the
                gradients of all its stages together.
        """
        phase = self.phases[0]
        if phase.border != 'teacher':
            raise ValueError(
                'Stages can be trained in parallel only in a first phase in '
                'which none waits for another: train_cfg=dict('
                f"schedule='blockwise', ...). Here it is {phase.name!r}, "
                f'with schedule={self.schedule!r}.')
        if phase.optim_wrapper.get('clip_grad'):
            raise ValueError(
                f'The phase {phase.name!r} clips gradients by their norm over '
                'all stages, which stages in parallel do not know of each '
                'other. Write train_cfg=dict(mimic=dict(optim_wrapper='
                'dict(clip_grad=None), ...), ...).')
        return self.distiller.find_blocks(phase.taps)

    def take_block(self, block: Sequence[str]) -> Phase:
        """The first phase with these stages alone.

        Args:
            block (Sequence[str]): One that :meth:`find_blocks` names.

        Raises:
            ValueError: It is none of these.
        """
        blocks = self.find_blocks()
        if tuple(block) not in blocks:
            raise ValueError(
                f'train_cfg.block={list(block)}: stages that can be trained '
                f'without the others are {[list(b) for b in blocks]}.')
        names = tuple(block)
        return replace(
            self.phases[0], taps=names, trains=names, cached_taps=names)

    def _with_settings(self, phase: Phase, begin: int,
                       settings: dict) -> Phase:
        check_keys(
            f'train_cfg: the phase {phase.name!r}', settings,
            ('max_epochs', 'optim_wrapper', 'param_scheduler',
             'cached_passes'))
        if 'max_epochs' not in settings:
            raise ValueError(
                f'train_cfg: the phase {phase.name!r} needs max_epochs; it '
                f'has {", ".join(settings) or "nothing"}.')
        if int(settings['max_epochs']) != settings['max_epochs'] or settings[
                'max_epochs'] < 0:
            raise ValueError(
                f'train_cfg: max_epochs of the phase {phase.name!r} must be a '
                f'whole number of epochs, not {settings["max_epochs"]}.')
        passes = settings.get('cached_passes', 0)
        if int(passes) != passes or passes < 0:
            raise ValueError(
                f'train_cfg: cached_passes={passes!r} of the phase '
                f'{phase.name!r} must be a whole number: of the passes over '
                'the training set whose features are kept, or 0 to keep none.')
        if passes and phase.name == 'finetune' and (
                not self.distiller.keeps_teachers):
            raise ValueError(
                'train_cfg: cached_passes of the phase finetune keeps what '
                'the teacher computes in it, but a '
                f'{type(self.distiller).__name__} has no use for a teacher '
                'there. Leave it out.')
        optim_wrapper = ConfigDict(copy.deepcopy(self._optim_wrapper_cfg))
        own = copy.deepcopy(settings.get('optim_wrapper', {}))
        optimizer = optim_wrapper.get('optimizer', {}).get('type')
        if own.get('optimizer', {}).get('type', optimizer) != optimizer:
            # It knows nothing of the other one's arguments.
            del optim_wrapper['optimizer']
        optim_wrapper.merge(own)
        return replace(
            phase,
            begin=begin,
            max_epochs=int(settings['max_epochs']),
            optim_wrapper=optim_wrapper,
            param_scheduler=settings.get('param_scheduler',
                                         self._param_scheduler_cfg),
            cached_passes=int(passes))

    # --- Running it -------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Phase: The one that the next iteration belongs to."""
        for phase in self.phases:
            if self._epoch < phase.end:
                return phase
        return self.phases[-1]

    def run(self) -> torch.nn.Module:
        """Run all phases, from wherever a resumed run has got to."""
        self.check_optimizers()
        if self._iter == 0:
            self.distiller.inherit_weights()
        self.distiller.compile_stages()
        self.runner.call_hook('before_train')
        self.distiller.fold_teachers(self.sample())
        try:
            self._run_phases()
        finally:
            self.runner.call_hook('end_train')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run_phases(self) -> None:
        if self.entered is not None:
            # Resumed: the Runner has counted over all phases since.
            self._count_from_phase()
        while self._epoch < self._max_epochs and not self.stop_training:
            self._validate_inherited()
            if self.entered is not self.phase:
                self.enter_phase(self.phase)
            self.run_epoch()
            self._validate()
        self._validate_inherited()
        if self._validated is None:
            # Resumed after the last epoch, but before its validation.
            self._validate()

    def run_epoch(self) -> None:
        """Run one epoch, or what a resumed run has left of it."""
        done = self._iter - self._epoch * len(self.dataloader)
        source = self._source_epoch()
        dataset = self.dataloader.dataset
        if isinstance(dataset, SeededDataset):
            dataset.set_epoch(source)
        self.seed_with(source)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, (number, data_batch) in enumerate(
                self._batches(source, done), done):
            self.seed_with(source, number)
            if self.entered.cached_passes:
                self.distiller.teacher_cache.begin_batch((source, number),
                                                         data_batch)
            self.run_iter(idx, data_batch)
        self.distiller.teacher_cache.key = None
        self._report_cache()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _source_epoch(self) -> int:
        """The epoch whose batches the current one has: itself, unless what
        the teachers computed for an earlier one is used again."""
        phase = self.entered
        if not phase.cached_passes or self._cache is not None:
            return self._epoch
        begin = phase.cache_begin
        return begin + (self._epoch - begin) % phase.cached_passes

    def _batches(self, source: int,
                 done: int) -> Iterator[Tuple[int, dict]]:
        """The epoch's batches with their numbers in their source epoch,
        without loading what was seen before."""
        if self._cache is not None:
            return enumerate(self._cache.batches(self._epoch, done), done)
        if not done and source == self._epoch:
            return enumerate(self.dataloader)
        sampler = self.dataloader.batch_sampler
        if hasattr(sampler.sampler, 'set_epoch'):
            sampler.sampler.set_epoch(source)
        batches = list(sampler)
        order = np.arange(len(batches))
        if source != self._epoch:
            # The same batches, but not one after the other as before.
            np.random.default_rng(
                (self.runner.seed, self._epoch)).shuffle(order)
        order = order[done:].tolist()
        return zip(
            order,
            load_batches(self.dataloader, [batches[i] for i in order]))

    def _report_cache(self) -> None:
        """Say once a pass how much of the teachers is held."""
        phase, cache = self.entered, self.distiller.teacher_cache
        number = self._epoch - phase.cache_begin
        if number < phase.cached_passes and cache.num_bytes:
            self.runner.logger.info(
                f'Pass {number + 1} of '
                f'{phase.cached_passes} over the training set: what the '
                f'teachers computed is held {cache.place}, '
                f'{cache.num_bytes / 2**20:.1f} MiB in each process.')

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Run one iteration: with features at hand, of the head alone."""
        if self._cache is None:
            super().run_iter(idx, data_batch)
            return
        runner = self.runner
        runner.call_hook(
            'before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self._cache.model.train_step(
            data_batch, optim_wrapper=runner.optim_wrapper)
        runner.call_hook(
            'after_train_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs=outputs)
        self._iter += 1

    def seed_with(self, *position: int) -> None:
        """Let randomness follow from the seed and the position in the run
        alone, so that a resumed run goes on as one that was not stopped."""
        entropy = (self.runner.seed, get_rank(), *position)
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def resume_phase(self, meta: dict, saved_in: str,
                     iters_per_epoch: int) -> None:
        """Enter the phase that follows a checkpoint.

        Args:
            meta (dict): The checkpoint's, with the epochs and iterations
                behind it.
            saved_in (str): Name of the phase that it was saved in.
            iters_per_epoch (int): What an epoch had then.

        Raises:
            ValueError: The phases or the global batch were others when it
                was saved.
        """
        epoch, length = meta['epoch'], len(self.dataloader)
        # Inside an epoch, the phase is that of the epoch which is under way.
        inside = meta['iter'] > epoch * iters_per_epoch
        last = epoch if inside else epoch - 1
        saved = [p.name for p in self.phases if p.begin <= last < p.end]
        if saved != [saved_in]:
            raise ValueError(
                f'The checkpoint was saved after epoch {epoch} in the phase '
                f'{saved_in!r}, but this config has there '
                f'{saved[0] if saved else "no phase"!r}. Resume with '
                'the config that it was saved with; to start from its '
                'weights, use load_from without resume.')
        self._epoch = epoch
        if length != iters_per_epoch:
            if self.phase.begin != epoch or inside:
                raise ValueError(
                    f'The checkpoint was saved with {iters_per_epoch} '
                    f'iterations an epoch, now there are {length}. Within a '
                    'phase resume with the same global batch: processes x '
                    'batch_size of each.')
            meta['iter'] = epoch * length
        self._iter = meta['iter']
        self.enter_phase(self.phase)

    def check_optimizers(self) -> None:
        """Build what each phase builds when it begins, hours from now.

        Raises:
            ValueError: An optimizer or a learning-rate schedule cannot be
                built; it names the phase.
        """
        runner = self.runner
        kept = runner.optim_wrapper, runner.logger.level
        # The phases themselves will list their groups of parameters.
        runner.logger.setLevel(logging.WARNING)
        try:
            for phase in self.phases:
                with _naming(phase, 'optim_wrapper', phase.optim_wrapper):
                    runner.optim_wrapper = runner.build_optim_wrapper(
                        copy.deepcopy(phase.optim_wrapper))
                schedulers = copy.deepcopy(phase.param_scheduler)
                if schedulers is not None:
                    with _naming(phase, 'param_scheduler', schedulers):
                        runner.build_param_scheduler(
                            self._end_with(phase, schedulers))
        finally:
            runner.optim_wrapper = kept[0]
            runner.logger.setLevel(kept[1])

    def enter_phase(self, phase: Phase) -> None:
        """Set what trains; build wrapper, optimizer and schedulers anew."""
        runner, before = self.runner, self.entered
        self.distiller.enter_phase(phase)
        dataset = self.dataloader.dataset
        if isinstance(dataset, SeededDataset):
            dataset.set_annotated(self.distiller.reads_annotations(phase))
        self._cache = None
        if phase.name == 'head' and phase.cached_passes:
            # The head is wrapped instead, which alone runs in an iteration.
            runner.model = self.distiller
            self._cache = FeatureCache(self, phase)
        elif runner.distributed:
            # Flipping requires_grad under a live DDP is unsafe.
            runner.model = runner.wrap_model(
                copy.deepcopy(runner.cfg.get('model_wrapper_cfg')),
                self.distiller)
        runner.optim_wrapper = runner.build_optim_wrapper(
            copy.deepcopy(phase.optim_wrapper))
        _drop_frozen(runner.optim_wrapper.optimizer)
        schedulers = copy.deepcopy(phase.param_scheduler)
        runner.param_schedulers = schedulers
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        if schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(
                self._end_with(phase, schedulers))
        if self.cache_dir and _caches_teachers(phase) and (
                before is None or before.cache_begin != phase.cache_begin):
            self.distiller.teacher_cache = open_teacher_cache(
                self, phase, self.cache_dir, self.cache_limit)
        self.entered = phase
        self._count_from_phase()
        runner.call_hook('before_phase', phase=phase)

    def _count_from_phase(self) -> None:
        """Let gradient accumulation count from the phase's beginning."""
        phase, length = self.entered, len(self.dataloader)
        self.runner.optim_wrapper.initialize_count_status(
            self.runner.model, self._iter - phase.begin * length,
            phase.max_epochs * length)

    def _end_with(self, phase: Phase, schedulers) -> List[dict]:
        if isinstance(schedulers, dict):
            schedulers = [schedulers]
        for scheduler in schedulers:
            epochs = phase.max_epochs
            scheduler.setdefault(
                'end', epochs if scheduler.get('by_epoch', True) else epochs *
                len(self.dataloader))
        return schedulers

    def _validate(self) -> None:
        phase = self.entered
        # Behind a mimic phase heads are yet to be trained, unless none is.
        if self.runner.val_loop is None or (phase.is_mimic and
                                            phase is not self.phases[-1]):
            return
        epoch = self._epoch - phase.begin
        if epoch == phase.max_epochs or (epoch >= self.val_begin and
                                         epoch % self.val_interval == 0):
            self.runner.val_loop.run()
            self._validated = self._epoch

    @property
    def mimic_end(self) -> Optional[int]:
        """int or None: The epochs behind which phases follow that do not
        mimic; None if there was no mimicking or nothing follows."""
        end = max((p.end for p in self.phases if p.is_mimic), default=0)
        return end if 0 < end < self._max_epochs else None

    def _validate_inherited(self) -> None:
        """See what a head scores that is the teacher's on features that were
        only mimicked: how good was the mimicking?"""
        info = self.runner.message_hub.runtime_info
        if (self.runner.val_loop is not None
                and self.mimic_end == self._epoch
                and self.distiller.inherits_head
                and 'sskd/inherited_head' not in info):
            self.runner.val_loop.run()

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


def find_checkpoint(work_dir: str, path: Optional[str]) -> Optional[str]:
    """The checkpoint to resume from: the given one, or the newest that can
    be read.

    Args:
        work_dir (str): Where to look.
        path (str, optional): The one that was asked for.

    Returns:
        str or None: Its path; None if there is none.

    Raises:
        TruncatedCheckpointError: The given one, or all of them, are cut off.
        UntrustedCheckpointError: It holds more than tensors and plain data.
    """
    if path is not None:
        load_checkpoint_file(path)
        return path
    files = [
        *Path(work_dir).glob('epoch_*.pth'), *Path(work_dir).glob('iter_*.pth')
    ]
    for file in sorted(files, key=lambda f: f.stat().st_mtime, reverse=True):
        try:
            load_checkpoint_file(str(file))
            return str(file)
        except TruncatedCheckpointError as error:
            last = error
            print_log(
                f'Passed over, resuming from the one before: {error}',
                logger='current',
                level=logging.WARNING)
    if files:
        raise last
    return None


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


def _seed_dataset(dataloader: Union[DataLoader, Dict],
                  seed: int) -> Union[DataLoader, Dict]:
    if not isinstance(dataloader, dict):
        return dataloader  # built by the caller, who sees to it
    dataset = DATASETS.build(dataloader['dataset'])
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return {**dataloader, 'dataset': SeededDataset(dataset, seed)}


def _caches_teachers(phase: Phase) -> bool:
    return bool(phase.cached_passes) and phase.name != 'head'


def _share_caches(phases: List[Phase]) -> List[Phase]:
    """Let mimic phases in a row, of as many cached passes, have what the
    teachers compute in those of the first."""
    shared = []
    for passes, group in itertools.groupby(
            phases, lambda phase: phase.cached_passes * phase.is_mimic):
        group = list(group)
        taps = tuple(dict.fromkeys(tap for p in group for tap in p.taps))
        shared += [
            replace(p, cache_begin=group[0].begin, cached_taps=taps)
            if passes else replace(p, cache_begin=p.begin) for p in group
        ]
    return shared


def _unwrap(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model


@contextmanager
def _naming(phase: Phase, key: str, settings: Any) -> Iterator[None]:
    """Say of an error which phase's settings it is about."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f'train_cfg: {key} of the phase {phase.name!r} cannot be built '
            f'from {settings}: {error}'
        ) from error


def _drop_frozen(optimizer: torch.optim.Optimizer) -> None:
    """Take frozen parameters, which MMEngine passes on, out of the groups."""
    for group in optimizer.param_groups:
        group['params'] = [p for p in group['params'] if p.requires_grad]
    optimizer.param_groups[:] = [
        group for group in optimizer.param_groups if group['params']
    ]
