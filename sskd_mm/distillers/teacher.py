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
    """A frozen network that the student's features are compared with.

    It is no ``nn.Module``, so that nothing of it can get into a student's
    ``state_dict``, its optimizer or DDP.

    It sees what the student sees, normalised as its own config says. A
    config without a ``data_preprocessor`` takes the student's.

    Args:
        cfg (str or Path or dict): A config file, a config of an installed
            package
            (``'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'``), or the
            ``model`` dict itself. Of a distillation's it is the student.
        checkpoint (str or Path): Path or URL of its weights. Every key must
            fit.
        data_preprocessor (nn.Module): The student's.
        input_transform (dict, optional): A deterministic transform of
            ``torchvision.transforms.v2`` for the preprocessed batch, by its
            name, e.g. ``dict(type='Resize', size=[224, 224])`` for a
            transformer of a fixed input size. Defaults to none. A
            detector's boxes would be found at other places: set
            ``evaluate_teacher=False`` for one whose images it resizes.
        device (torch.device): Where it runs. Defaults to the CPU.

    Attributes:
        model (nn.Module): The network.

    Raises:
        FileNotFoundError: The config or the checkpoint is not there.
        ValueError: The checkpoint's keys or shapes are not the model's, or
            there is no such transform.

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
        """What tells its config and weights from any other's."""
        found = hashlib.sha256(
            json.dumps([self._cfg, self._transform_cfg],
                       sort_keys=True, default=repr).encode())
        for key, value in self.model.state_dict().items():
            found.update(key.encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(
                torch.uint8).numpy())
        return found.hexdigest()

    # Not inference_mode: what it makes cannot be saved for a backward pass,
    # and losses save the teacher's features. A pass in it is no faster either,
    # see benchmarks/speed/teacher.py.
    @torch.no_grad()
    def features(
        self,
        inputs: Tensor,
        taps: Sequence[str],
        sizes: Optional[Sequence[Tuple[int, int]]] = None,
        pre_activation: bool = False,
    ) -> Dict[str, Tuple[Tensor, ...]]:
        """The outputs of these taps.

        Args:
            inputs (Tensor): Images preprocessed for the student, (N, C, H,
                W).
            taps (Sequence[str]): Module paths.
            sizes (list[tuple[int]], optional): Height and width of each
                image without its padding.
            pre_activation (bool): As :func:`run_prefix` has it.

        Returns:
            dict[str, tuple[Tensor]]: The features of each tap.
        """
        return self.run(
            self.preprocess(inputs, sizes), taps, pre_activation)

    @torch.no_grad()
    def run(self,
            images: Tensor,
            taps: Sequence[str],
            pre_activation: bool = False) -> Dict[str, Tuple[Tensor, ...]]:
        """As :meth:`features`, of images that :meth:`preprocess` gave."""
        return run_prefix(self.model, taps, images, pre_activation)

    def preprocess(
            self,
            inputs: Tensor,
            sizes: Optional[Sequence[Tuple[int, int]]] = None) -> Tensor:
        """Make of a batch preprocessed for the student its own input.

        Args:
            inputs (Tensor): (N, C, H, W).
            sizes (list[tuple[int]], optional): As in :meth:`features`.

        Returns:
            Tensor: Normalised as its own config says, and transformed.

        Raises:
            ValueError: They are in colour, but it takes grey ones.
        """
        inputs = self._transform(self._renormalize(inputs, sizes))
        if self._renormalize.in_channels == 1 and inputs.shape[1] == 3:
            raise ValueError(
                f'The teacher ({type(self.model).__name__}) takes grey images '
                'of one channel, but the student has them in colour. Load '
                "them grey, dict(type='LoadImageFromFile', "
                "color_type='grayscale') in each pipeline, for a student with "
                'backbone.in_channels=1, or take a teacher that was trained '
                'in colour.')
        return inputs

    @torch.no_grad()
    def predict(self, data: Union[dict, tuple, list]) -> list:
        """What it predicts for a batch of the validation set, as
        ``val_step`` does."""
        if isinstance(data, dict):
            data = {**data, 'inputs': self._renormalize.widen(data['inputs'])}
        data = self.model.data_preprocessor(data, False)
        data['inputs'] = self._transform(data['inputs'])
        return self.model(**data, mode='predict')


def _build(cfg: Union[str, dict],
           data_preprocessor: nn.Module) -> Tuple[nn.Module, dict]:
    """The network and the config that it is built of."""
    scope = None
    if isinstance(cfg, (str, os.PathLike)):
        whole = read_teacher_config(os.fspath(cfg))
        if 'student' in whole.get('model', {}):
            # A distillation's: whoever was taught there teaches here.
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
