# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import os
import os.path as osp
from typing import Callable, Dict, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torchvision.transforms import v2

from ..models.student_config import student_config
from ..stages import run_prefix
from .load_teacher_weights import load_teacher_weights
from .renormalize import Renormalize, input_channels


class Teacher:
    """A frozen network whose features the student mimics.

    It is no ``nn.Module``, so it stays out of the student's ``state_dict``,
    optimizer and DDP. It gets the student's batch, normalised as its own
    config says; a config without ``data_preprocessor`` uses the student's.

    Args:
        cfg (str or Path or dict): A config file, a config of an installed
            package
            (``'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'``), or a
            ``model`` dict. Of a distillation config, the student is used.
        checkpoint (str or Path): Path or URL of its weights. Every key must
            fit.
        data_preprocessor (nn.Module): The student's.
        input_transform (dict, optional): A deterministic transform from
            ``torchvision.transforms.v2`` for the preprocessed batch, e.g.
            ``dict(type='Resize', size=[224, 224])`` for a transformer of a
            fixed input size. For a detector that resizes, set
            ``evaluate_teacher=False``: its boxes are in the resized images.
            Defaults to None.
        device (torch.device): Where it runs. Defaults to the CPU.

    Attributes:
        model (nn.Module): The network.

    Raises:
        FileNotFoundError: The config or the checkpoint does not exist.
        ValueError: The checkpoint does not fit the model, or the transform is
            unknown.

    Example:
        >>> teacher = dict(
        >>>     cfg='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        >>>     checkpoint='checkpoints/faster_rcnn_r50.pth')
    """

    def __init__(self,
                 cfg: Union[str, dict],
                 checkpoint: str,
                 data_preprocessor: nn.Module,
                 input_transform: Optional[dict] = None,
                 device: torch.device = torch.device('cpu')) -> None:
        self.checkpoint = checkpoint
        self.model, self._cfg = _build(cfg, data_preprocessor)
        self._renormalize = Renormalize(data_preprocessor,
                                        self.model.data_preprocessor, device,
                                        input_channels(self.model))
        self._transform = _build_transform(input_transform)
        self._transform_cfg = input_transform
        load_teacher_weights(self.model, checkpoint)
        self.model.to(device).eval().requires_grad_(False)

    def digest(self) -> str:
        """A digest of its config and weights."""
        found = hashlib.sha256(
            json.dumps([self._cfg, self._transform_cfg],
                       sort_keys=True, default=repr).encode())
        for key, value in self.model.state_dict().items():
            found.update(key.encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(
                torch.uint8).numpy())
        return found.hexdigest()

    # Not inference_mode: losses save the teacher's features for the backward
    # pass. Nor is it faster, see benchmarks/speed/teacher.py.
    @torch.no_grad()
    def features(
        self,
        inputs: Tensor,
        taps: Sequence[str],
        sizes: Optional[Sequence[Tuple[int, int]]] = None,
    ) -> Dict[str, Tuple[Tensor, ...]]:
        """The features of these taps.

        Args:
            inputs (Tensor): Images preprocessed for the student, (N, C, H,
                W).
            taps (Sequence[str]): Module paths.
            sizes (list[tuple[int]], optional): Height and width of each
                image without padding.

        Returns:
            dict[str, tuple[Tensor]]: The features of each tap.
        """
        return run_prefix(self.model, taps, self.preprocess(inputs, sizes))

    def preprocess(
            self,
            inputs: Tensor,
            sizes: Optional[Sequence[Tuple[int, int]]] = None) -> Tensor:
        """Turn a batch preprocessed for the student into the teacher's input.

        Args:
            inputs (Tensor): (N, C, H, W).
            sizes (list[tuple[int]], optional): As in :meth:`features`.

        Returns:
            Tensor: Normalised as its own config says, and transformed.

        Raises:
            ValueError: The images are in colour, but the teacher takes grey.
        """
        inputs = self._transform(self._renormalize(inputs, sizes))
        if self._renormalize.in_channels == 1 and inputs.shape[1] == 3:
            raise ValueError(
                f'The teacher ({type(self.model).__name__}) takes grey images '
                "with one channel, but the student's are in colour. Load them "
                "in grey, dict(type='LoadImageFromFile', "
                "color_type='grayscale') in each pipeline, for a student with "
                'backbone.in_channels=1, or use a teacher trained in colour.')
        return inputs

    @torch.no_grad()
    def predict(self, data: Union[dict, tuple, list]) -> list:
        """Its predictions for a batch of the validation set, as from
        ``val_step``."""
        if isinstance(data, dict):
            data = {**data, 'inputs': self._renormalize.widen(data['inputs'])}
        data = self.model.data_preprocessor(data, False)
        data['inputs'] = self._transform(data['inputs'])
        return self.model(**data, mode='predict')


def _build(cfg: Union[str, dict],
           data_preprocessor: nn.Module) -> Tuple[nn.Module, dict]:
    """The network and its config."""
    scope = None
    if isinstance(cfg, (str, os.PathLike)):
        whole = read_teacher_config(os.fspath(cfg))
        if 'student' in whole.get('model', {}):
            # Of a distillation, its student is the teacher here.
            whole = student_config(whole)
        scope = whole.get('default_scope')
        cfg = dict(whole.model)
        if whole.get('data_preprocessor') is not None:
            # Beside the model, as mmpretrain's configs have it.
            cfg.setdefault('data_preprocessor', whole.data_preprocessor)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg)
    if cfg.get('data_preprocessor') is None:
        model.data_preprocessor = data_preprocessor
    return model, cfg


def _build_transform(cfg: Optional[dict]) -> Callable[[Tensor], Tensor]:
    if cfg is None:
        return lambda inputs: inputs
    cfg = dict(cfg)
    name = cfg.pop('type', None)
    transform = getattr(v2, str(name), None)
    if not (isinstance(transform, type) and issubclass(transform, nn.Module)):
        raise ValueError(
            f'teacher.input_transform: torchvision.transforms.v2 has no '
            f'transform {name!r}. Write e.g. '
            "input_transform=dict(type='Resize', size=[224, 224]).")
    return transform(**cfg)


def read_teacher_config(path: str) -> Config:
    """Read a teacher's config by file name or ``package::path``."""
    if '::' in path:
        try:
            return get_config(path)
        except (FileNotFoundError, ImportError, ValueError) as error:
            raise FileNotFoundError(
                f'teacher.cfg={path!r} was not found: {error} Before "::" '
                'goes an installed package, after it a path below its '
                'configs/, e.g. '
                "'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'."
            ) from error
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'teacher.cfg={path!r} does not exist (relative to '
            f'{osp.abspath(".")!r}). Give the path of a config, or '
            "'mmdet::...' for one that mmdet ships.")
    return Config.fromfile(path)
