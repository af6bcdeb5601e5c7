# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn


def build_model(cfg: Config) -> nn.Module:
    """Build the network of a config, as its Runner would.

    Args:
        cfg (Config): A complete config. If it is a distillation, the student
            is built.

    Returns:
        nn.Module: The network with its data preprocessor, with torch's
        initial weights.

    Raises:
        ValueError: The config has no model.

    Example:
        >>> cfg = Config.fromfile('configs/sskd/faster_rcnn_r18_coco.py')
        >>> type(build_model(cfg)).__name__
        'FasterRCNN'
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return MODELS.build(model_config(cfg))


def model_config(cfg: Config) -> dict:
    """Get the model config that :func:`build_model` builds.

    Args:
        cfg (Config): A complete config. If it is a distillation, the
            student's model is returned.

    Returns:
        dict: The model with its data preprocessor, which a config has inside
        the model or, as in mmpretrain, next to it.

    Raises:
        ValueError: The config has no model.
    """
    if 'model' not in cfg:
        raise ValueError(
            f'{cfg.filename} has no model. Give the complete training config, '
            'not a part such as those in _base_/.')
    model = dict(cfg.model.get('student', cfg.model))
    for outer in (cfg.model, cfg):
        if outer.get('data_preprocessor') is not None:
            model.setdefault('data_preprocessor', outer.data_preprocessor)
    return model
