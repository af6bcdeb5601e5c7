# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.build_model import model_config


def find_thawing(cfg: Config, student: nn.Module) -> Dict[str, Any]:
    """Find the settings that unfreeze a student's backbone.

    The right value of ``frozen_stages`` depends on the backbone: -1 for a
    ResNet, where 0 freezes the stem; 0 for mmdet's EfficientNet, which
    rejects -1. So both are tried.

    Args:
        cfg (Config): The student's complete config.
        student (nn.Module): The student built from it.

    Returns:
        dict: The settings; empty if nothing is frozen or no setting helps.

    Example:
        >>> # mmdet's RetinaNet with a ResNet-18
        >>> find_thawing(cfg, student)
        {'frozen_stages': -1, 'norm_eval': False}
    """
    backbone = getattr(student, 'backbone', None)
    if backbone is None:
        return {}
    best, fewest = {}, _count_frozen(backbone)
    norm = dict(norm_eval=False) if getattr(backbone, 'norm_eval',
                                            False) else {}
    tried = [norm] if norm else []
    if hasattr(backbone, 'frozen_stages'):
        tried += [dict(frozen_stages=n, **norm) for n in (-1, 0)]
    for settings in tried:
        if not fewest:
            break
        try:
            with DefaultScope.overwrite_default_scope(
                    cfg.get('default_scope')):
                other = MODELS.build({
                    **model_config(cfg)['backbone'],
                    **settings
                })
        except Exception:  # Each backbone rejects values in its own way.
            continue
        frozen = _count_frozen(other)
        if frozen < fewest:
            best, fewest = settings, frozen
    return best


def _count_frozen(backbone: nn.Module) -> int:
    """Count parameters and batch norms that training does not change."""
    backbone.train()
    return sum(not p.requires_grad for p in backbone.parameters()) + sum(
        isinstance(m, _BatchNorm) and not m.training
        for m in backbone.modules())
