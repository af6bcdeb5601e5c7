# Copyright (c) sskd_mm authors. All rights reserved.
import contextlib
import copy
import io
import logging
import multiprocessing
import random
import time
from typing import Any, Iterator, List, Optional, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner.amp import autocast
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ..compat import is_a
from ..stages import Phase
from .build_optimizer import build_optimizer

#: The largest batch to try, so that this takes seconds.
_MOST_IMAGES = 16


def try_later_phases(loop) -> None:
    """Try the phases after mimicking and the validation on one batch each, so
    that they fail before mimicking, not after it.

    The student's loss is computed in each later phase, and a batch of the
    validation set is predicted and passed to the evaluator. ``CocoMetric`` is
    also computed; other metrics may need more images than a batch has.

    The state of the run does not change, bit by bit: images are loaded in a
    separate process, copies of student and metrics are used, and random
    states are restored. Without mimic phases ahead nothing is tried.

    Raises:
        ValueError: Names the phase, the part of the config and the original
            error.
    """
    state, logger = loop.state, loop.runner.logger
    ahead = loop.phases[state.index + state.ended:]
    if not any(phase.is_mimic for phase in ahead):
        return
    start = time.time()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with random_state_kept():
            _try_training(loop, [p for p in ahead if not p.is_mimic])
            if loop.runner.val_loop is not None:
                _try_validation(loop)
    except torch.cuda.OutOfMemoryError:
        # Later phases run without the teacher, which takes memory now.
        torch.cuda.empty_cache()
        logger.warning('Not enough memory beside the teacher to try the '
                       'phases after mimicking.')
        return
    finally:
        logger.setLevel(level)
    logger.info('Tried the phases after mimicking and the validation on a '
                f'batch each, in {time.time() - start:.1f} s.')


def _try_training(loop, phases: Sequence[Phase]) -> None:
    batches = {}
    for phase in phases:
        feed, name = loop.feed_of(phase), f'the phase {phase.name!r}'
        with _saying(f'train_dataloader: images with annotations for {name} '
                     'cannot be loaded'):
            if id(feed) not in batches:
                feed.set_annotated(True)
                batches[id(feed)] = load_apart(feed.loader)
        student = _copy(loop, phase)
        if student is None:
            continue
        with _saying('train_dataloader: the loss of the student cannot be '
                     f'computed from its images and annotations in {name}'):
            wrapper = build_optimizer(loop.distiller, phase.optim_wrapper)
            with torch.no_grad(), wrapper.optim_context(student):
                # A preprocessor may change its batch in place.
                data = student.data_preprocessor(
                    copy.deepcopy(batches[id(feed)]), True)
                losses = student(
                    data['inputs'], data.get('data_samples'), mode='loss')
            loop.distiller.parse_losses(losses)


def _try_validation(loop) -> None:
    val_loop = loop.runner.val_loop
    loader = val_loop.dataloader
    student = _copy(loop)
    if student is None or isinstance(loader.dataset, IterableDataset):
        return
    with _saying('val_dataloader: its images cannot be loaded'):
        batch = load_apart(loader)
    with _saying('val_dataloader: the student cannot predict its images'):
        with torch.no_grad(), autocast(
                enabled=getattr(val_loop, 'fp16', False)):
            outputs = student.val_step(batch)
    _ensure_a_box(outputs)
    for metric in val_loop.evaluator.metrics:
        trial = _copy_metric(metric)
        if trial is None:
            continue
        name = type(metric).__name__
        with _saying(f"val_evaluator: {name} cannot take the student's "
                     'predictions'):
            Evaluator([trial]).process(data_samples=outputs, data_batch=batch)
        if is_a(trial, 'CocoMetric'):
            # Into a folder that is gone.
            trial.outfile_prefix = None
            with _saying(
                    f'val_evaluator: {name} cannot be computed. It reads '
                    'id, image_id, category_id, bbox, area and iscrowd, and '
                    'for segm segmentation, of each annotation in its '
                    'ann_file, which has to list the images of '
                    'val_dataloader'):
                with contextlib.redirect_stdout(io.StringIO()):
                    trial.compute_metrics(trial.results)


def load_apart(loader: DataLoader, most: int = _MOST_IMAGES) -> Any:
    """A batch of at most ``most`` images from all over a data set, loaded in a
    separate process, so that transforms and data sets keep no state of it
    (such as the images of a cached mosaic)."""
    size = getattr(loader.batch_sampler, 'batch_size', None) or 2
    number = len(loader.dataset)
    indices = np.linspace(0, number - 1,
                          min(size, number, most)).astype(int)
    # A daemon must not have child processes.
    apart = not multiprocessing.current_process().daemon
    return next(
        iter(
            DataLoader(
                loader.dataset,
                batch_sampler=[indices.tolist()],
                collate_fn=loader.collate_fn,
                num_workers=int(apart),
                multiprocessing_context=loader.multiprocessing_context
                if apart else None)))


def _copy(loop, phase: Optional[Phase] = None) -> Optional[nn.Module]:
    """A copy of the student in the mode of a phase, or of validation, which
    takes the changes of running statistics; None if it cannot be copied."""
    distiller, student = loop.distiller, loop.distiller.student
    modes = [(module, module.training) for module in student.modules()]
    student.train(phase is not None)
    if phase is not None:
        distiller.set_trainable(phase)
        distiller.partition.set_mode(phase.trains)
    try:
        trial = copy.deepcopy(student)
    except (RuntimeError, TypeError) as error:
        # torch cannot copy every tensor, such as a weight-normed one.
        loop.runner.logger.warning(
            f'The student cannot be copied ({error}), so later phases are not '
            'tried before mimicking.')
        return None
    finally:
        for module, mode in modes:
            module.training = mode
    for module in trial.modules():
        # A compiled forward is bound to the original's weights.
        if hasattr(module.__dict__.get('forward'),
                   '_torchdynamo_orig_callable'):
            del module.forward
    return trial


def _copy_metric(metric: BaseMetric) -> Optional[BaseMetric]:
    if hasattr(type(metric), '__del__'):
        return None  # It would delete the original's files.
    # Large and read-only: share them.
    apis = [getattr(metric, key, None) for key in ('_coco_api', '_lvis_api')]
    try:
        return copy.deepcopy(metric, {id(x): x for x in apis if x is not None})
    except (TypeError, RuntimeError):
        return None


def _ensure_a_box(outputs: List[Any]) -> None:
    """Give a detector without any detections an empty box, since mmdet skips
    metrics without detections."""
    found = [getattr(x, 'pred_instances', None) for x in outputs]
    if any(x is None or len(x) for x in found):
        return
    values = dict(found[0].items())
    if values and all(isinstance(x, Tensor) for x in values.values()):
        outputs[0].pred_instances = InstanceData(
            **{k: v.new_zeros(1, *v.shape[1:])
               for k, v in values.items()})


@contextlib.contextmanager
def _saying(what: str) -> Iterator[None]:
    """Raise errors again, with what was tried and failed."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        # A worker's message is its whole traceback; the last line suffices.
        lines = str(error).strip().splitlines() or ['']
        reason = f'{type(error).__name__}: {lines[0]}'
        if 'DataLoader worker' in lines[0]:
            reason = lines[-1]
        raise ValueError(
            f'{what}: {reason} (Tried ahead of mimicking; the run would fail '
            'with this error after it.)') from error


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the random generators behind what is done in this context."""
    states = random.getstate(), np.random.get_state()
    cuda = torch.cuda.is_available()
    with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
