# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn


def build_model(cfg: Config) -> nn.Module:
    """Build the network of a config, as its Runner would.

    Args:
        cfg (Config): A whole config. Of a distillation the student is built.

    Returns:
        nn.Module: The network, with the data preprocessor that mmpretrain's
        configs have beside the model; its weights are as torch begins them.

    Raises:
        ValueError: The config has no model.

    Example:
        >>> cfg = Config.fromfile('configs/sskd/faster_rcnn_r18_coco.py')
        >>> type(build_model(cfg)).__name__
        'FasterRCNN'
    """
    if 'model' not in cfg:
        raise ValueError(
            f'{cfg.filename} has no model. Give the whole config that is '
            'trained with, not a part such as those in _base_/.')
    model = dict(cfg.model.get('student', cfg.model))
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return MODELS.build(model)
