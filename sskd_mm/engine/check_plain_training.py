# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.model import is_model_wrapper

from ..datasets import check_labels, head_classes
from ..datasets.check_num_classes import metainfo_of
from ..distillers import StageByStageDistiller


def check_plain_training(runner) -> None:
    """See that a plain training, as a teacher's, has a class for each label.

    A distillation checks its classes by itself. Where data sets name their
    classes (most do), mmdet and mmpretrain have checks of their own.

    Args:
        runner (Runner): Not yet training; its train loop is built.

    Raises:
        ValueError: A head has too few classes for a list of images and
            labels, see :func:`check_labels`.
    """
    model = runner.model.module if is_model_wrapper(
        runner.model) else runner.model
    if isinstance(model, StageByStageDistiller) or runner.train_loop is None:
        return
    dataset = getattr(runner.train_loop.dataloader, 'dataset', None)
    if dataset is not None and 'classes' not in metainfo_of(dataset):
        check_labels(dataset, 'train_dataloader', None, head_classes(model))
