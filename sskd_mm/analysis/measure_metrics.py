# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from itertools import islice
from typing import Any, Callable, Dict, List, NamedTuple

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from .quiet import quiet
from .scalar_metrics import scalar_metrics


class Measured(NamedTuple):
    """The scores of a network.

    Attributes:
        metrics (dict[str, float]): Metrics of the config's evaluator that are
            numbers.
        classes (dict[str, float]): Accuracy or AP per class; empty if the
            metrics have no classes.
    """

    metrics: Dict[str, float]
    classes: Dict[str, float]


@torch.no_grad()
def measure_metrics(cfg: Config, predictors: Dict[str, Callable],
                    loader: DataLoader, images: int) -> Dict[str, Measured]:
    """Evaluate networks on the first images of a test set, also by class.

    Per-class scores are accuracy for a classifier, and the AP of
    ``CocoMetric`` for a detector.

    Args:
        cfg (Config): Provides ``test_evaluator`` or ``val_evaluator``.
        predictors (dict[str, Callable]): By name, functions that predict a
            batch, such as a model's ``val_step``.
        loader (DataLoader): See :func:`build_test_loader`.
        images (int): Number of images, rounded up to full batches.

    Returns:
        dict[str, Measured]: Scores by name.
    """
    batches = list(
        islice(loader, -(-images // loader.batch_sampler.batch_size)))
    result = {}
    for name, predict in predictors.items():
        with quiet(), DefaultScope.overwrite_default_scope(
                cfg.get('default_scope')):
            evaluator = Evaluator(_by_class(cfg))
        evaluator.dataset_meta = loader.dataset.metainfo
        seen = []
        for batch in batches:
            # Some networks write into their input samples.
            samples = predict(copy.deepcopy(batch))
            evaluator.process(data_samples=samples, data_batch=batch)
            seen += [sample.get('img_id') for sample in samples]
        for metric in evaluator.metrics:
            if hasattr(metric, 'img_ids'):
                # Otherwise CocoMetric counts skipped images as missed.
                metric.img_ids = seen
        with quiet():
            metrics = evaluator.evaluate(len(seen))
        result[name] = _split(
            metrics, loader.dataset.metainfo.get('classes') or ())
    return result


def _by_class(cfg: Config) -> List[dict]:
    metrics = copy.deepcopy(
        cfg.get('test_evaluator') or cfg.get('val_evaluator'))
    metrics = [metrics] if isinstance(metrics, dict) else list(metrics)
    for metric in list(metrics):
        kind = metric['type'].rpartition('.')[2]
        if kind == 'CocoMetric':
            metric['classwise'] = True
        elif kind == 'Accuracy':
            # Per class, the fraction of its images classified correctly.
            metrics.append(
                dict(
                    type='mmpretrain.SingleLabelMetric',
                    items=('recall', ),
                    average=None))
    return metrics


def _split(metrics: Dict[str, Any], names) -> Measured:
    classes: Dict[str, float] = {}
    overall: Dict[str, Any] = {}
    precisions = {f'{name}_precision': name for name in names}
    for key, value in metrics.items():
        short = key.rpartition('/')[2]
        if short == 'recall_classwise':
            classes.update(zip(names, value))
        elif short in precisions:
            classes[precisions[short]] = float(value)
        else:
            overall[key] = value
    return Measured(scalar_metrics(overall), classes)
