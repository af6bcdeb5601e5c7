# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from collections import OrderedDict
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from ..compat import load_checkpoint_file
from ..stages import run_prefix
from .load_report import listed


class Teacher:
    """A frozen network that the student's features are compared with.

    It is no ``nn.Module``, so that nothing of it can get into a student's
    ``state_dict``, its optimizer or DDP.

    Args:
        cfg (str or dict): A config file, a config of an installed package
            (``'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'``), or the
            ``model`` dict itself.
        checkpoint (str): Path or URL of its weights. Every key must fit.
        device (torch.device): Where it runs.

    Raises:
        FileNotFoundError: The config or the checkpoint is not there.
        ValueError: The checkpoint's keys or shapes are not the model's.

    Example:
        >>> teacher = dict(
        >>>     cfg='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        >>>     checkpoint='checkpoints/faster_rcnn_r50.pth')
    """

    def __init__(self, cfg: Union[str, dict], checkpoint: str,
                 device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.model = self._build(cfg)
        load_teacher_weights(self.model, checkpoint)
        self.model.to(device).eval().requires_grad_(False)

    @staticmethod
    def _build(cfg: Union[str, dict]) -> nn.Module:
        scope = None
        if isinstance(cfg, str):
            cfg = read_teacher_config(cfg)
            scope = cfg.get('default_scope')
            cfg = cfg.model
        with DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(cfg)

    @torch.no_grad()
    def features(self, inputs: Tensor,
                 taps: Sequence[str]) -> Dict[str, Tuple[Tensor, ...]]:
        """The outputs of these taps for preprocessed images (N, C, H, W)."""
        return run_prefix(self.model, taps, inputs)


def read_teacher_config(path: str) -> Config:
    """Read a teacher's config by file name or ``package::path``."""
    if '::' in path:
        try:
            return get_config(path)
        except (FileNotFoundError, ImportError, ValueError) as error:
            raise FileNotFoundError(
                f'teacher.cfg={path!r} was not found: {error} The part '
                'before "::" is an installed package, the rest a path below '
                'its configs/, e.g. '
                "'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'."
            ) from error
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'teacher.cfg={path!r} is no file (looked for it from '
            f'{osp.abspath(".")!r}). Give the path of a config, or '
            "'mmdet::...' for one that mmdet ships.")
    return Config.fromfile(path)


def load_teacher_weights(model: nn.Module, checkpoint: Optional[str]) -> None:
    """Load a teacher's weights and see that every one was loaded."""
    if not checkpoint:
        raise ValueError(
            'teacher.checkpoint is not set. A teacher without trained weights '
            'teaches noise: give the path or URL of its checkpoint.')
    state_dict = _state_dict(load_checkpoint_file(checkpoint))
    own = model.state_dict()
    misfit = [
        f'{k} {tuple(v.shape)}, in the model {tuple(own[k].shape)}'
        for k, v in state_dict.items() if k in own and v.shape != own[k].shape
    ]
    for entry in misfit:
        state_dict.pop(entry.split(' ')[0])
    missing, unexpected = model.load_state_dict(state_dict, strict=False)
    # Old checkpoints lack these counters, which eval mode does not read.
    missing = [k for k in missing if not k.endswith('num_batches_tracked')]
    if missing or unexpected or misfit:
        raise ValueError(
            f'The teacher\'s checkpoint {checkpoint!r} does not belong to its '
            f'config: {len(own) - len(missing)} of {len(own)} weights fit.'
            f'{listed("Missing or of another shape", missing)}'
            f'{listed("Unexpected", unexpected)}'
            f'{listed("Other shape", misfit)}'
            '\nGive the config that the checkpoint was trained with '
            '(depth, num_classes, widths).')
    MMLogger.get_current_instance().info(
        f'teacher: all {len(own)} weights loaded from {checkpoint}.')


def _state_dict(checkpoint: Dict[str, Any]) -> Dict[str, Tensor]:
    state_dict = OrderedDict(checkpoint.get('state_dict', checkpoint))
    # Left there by trainings that saved the DDP wrapper with the network.
    consume_prefix_in_state_dict_if_present(state_dict, 'module.')
    return state_dict
