# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..distillers import StageByStageDistiller
from ..stages import HEAD
from .available_memory import available_memory


def check_cacheable(distiller: StageByStageDistiller, batch: dict,
                    images: int) -> None:
    """Check that a head phase can train on the cached features of so many
    images.

    Raises:
        ValueError: Says what prevents it and what to do.
    """
    reason = _find_obstacle(distiller, batch, images)
    if reason:
        raise ValueError(
            f'train_cfg: head=dict(cached_passes=...): {reason} Remove '
            'cached_passes: the head phase then computes its features in '
            'each iteration.')


def _find_obstacle(distiller: StageByStageDistiller, batch: dict,
                   images: int) -> Optional[str]:
    student = distiller.student
    name = type(student).__name__
    if not (hasattr(student, 'extract_feat')
            and hasattr(getattr(student, 'head', None), 'loss')):
        return (f'the student, a {name}, is no mmpretrain classifier, whose '
                'head reads the output of extract_feat. The feature maps '
                "that a detector's heads read are too large to cache.")
    trainable = sorted(key for key in distiller.partition.trainable([HEAD])
                       if not key.startswith('head.'))
    if trainable:
        return (f'{", ".join(trainable[:3])} train in the head phase '
                'but come before the head, so features change in each step. '
                'With a tap after them (stages=[..., '
                f'{trainable[0].rpartition(".")[0]!r}]) they train in a '
                'mimic phase.')
    student.train()
    distiller.partition.set_mode([HEAD])
    random = [
        key for key, module in student.named_modules()
        if module.training and not key.startswith('head.')
        and _depends_on_mode(module)
    ]
    student.eval()
    data = distiller.data_preprocessor(batch, False)
    with torch.no_grad():
        features = student.extract_feat(data['inputs'])
    student.train()
    if random:
        return (f'{", ".join(random[:3])} before the head are in training '
                'mode, so features vary with the epoch or the batch. With a '
                'tap after them in `stages` they are frozen.')
    if not (isinstance(features, (tuple, list)) and all(
            isinstance(x, Tensor) for x in features)):
        return (f'extract_feat of {name} returns a '
                f'{type(features).__name__}, not a tuple of tensors.')
    needed = images * sum(x.numel() * x.element_size() // len(x)
                          for x in features)
    available = available_memory()
    if available is not None and needed > available:
        shapes = ', '.join(str(tuple(x.shape[1:])) for x in features)
        return (f'the features {shapes} of {images:,} images (all passes, in '
                f'each process of this machine) take {needed / 2**30:.1f} GiB '
                f'of memory, but {available / 2**30:.1f} GiB are available. '
                'Cache fewer passes, or tap after the pooling.')
    samples = data['data_samples'] or [None]
    if any(len(getattr(sample, 'gt_label', ())) != 1 for sample in samples):
        return 'images must have one label each (gt_label).'
    return None


def _depends_on_mode(module: nn.Module) -> bool:
    """Whether a module acts differently in training mode."""
    # Dropout, DropPath and the like, from any library.
    drops = 'drop' in type(module).__name__.lower() and any(
        getattr(module, key, 0) for key in ('p', 'drop_prob', 'prob'))
    return drops or isinstance(module, _BatchNorm)
