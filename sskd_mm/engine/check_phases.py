# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any

from ..compat import is_a
from ..datasets import (check_labels, check_masks, check_num_classes,
                        check_sample_idx, check_val_classes, check_val_images,
                        head_classes)
from .check_cacheable import check_cacheable


def check_phases(loop) -> None:
    """Check the phases of a run against its data.

    Raises:
        ValueError: A cache is useless or impossible, or classes, masks or
            images of a set do not fit the heads or the validation.
    """
    caching = [p for p in loop.phases if p.caches_teachers]
    if loop.cache_dir and not caching:
        raise ValueError(
            f'train_cfg.cache_dir={loop.cache_dir!r} is for cached passes, '
            'but no phase has any: write e.g. '
            'mimic=dict(cached_passes=1, ...), or remove it.')
    for phase in caching:
        if loop.cache_dir and not isinstance(phase.dataloader, dict):
            raise ValueError(
                'train_cfg.cache_dir: the cache is identified by the config '
                'of its data, but train_dataloader is a DataLoader. Pass its '
                'config to the Runner.')
    for phase in loop.phases:
        feed = loop.feed_of(phase)
        if not isinstance(phase.dataloader, dict) and any(
                is_a(m, 'CRDLoss') for m in loop.distiller.modules()):
            check_sample_idx(feed.dataset)
        if not phase.is_mimic and feed is not loop.feeds.base:
            check_classes(loop, feed.dataset)
        if phase.caches_features:
            passes = min(phase.cached_passes,
                         -(-phase.max_iters // len(feed)))
            check_cacheable(loop.distiller, feed.sample(),
                            passes * len(feed.dataset))
    _check_images(loop)


def check_classes(loop, dataset: Any) -> None:
    """Check a training set's classes against the student's heads and the
    validation set.

    Raises:
        ValueError: The classes differ.
    """
    runner = loop.runner
    student = loop.distiller.student
    check_num_classes(student, dataset, loop.accept_other_classes)
    check_labels(dataset, 'train_dataloader', loop.accept_other_classes,
                 head_classes(student))
    if runner.val_loop is not None:
        check_labels(runner.val_dataloader.dataset, 'val_dataloader',
                     loop.accept_other_classes)
        check_val_classes(dataset, runner.val_dataloader.dataset,
                          runner.val_evaluator.metrics,
                          loop.accept_other_classes)


def _check_images(loop) -> None:
    """Check masks and image ids that phases after mimicking read."""
    runner = loop.runner
    feeds = [loop.feed_of(p) for p in loop.phases if not p.is_mimic]
    for dataset in {id(feed): feed.dataset for feed in feeds}.values():
        check_masks(dataset)
    if runner.val_loop is not None:
        dataset = runner.val_dataloader.dataset
        check_masks(dataset, 'val_dataloader')
        check_val_images(dataset, runner.val_evaluator.metrics)
