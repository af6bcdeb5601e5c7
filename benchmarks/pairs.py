# Copyright (c) sskd_mm authors. All rights reserved.
"""Three pairs of networks with shipped configs, on noise: sequential mimicking
as in the paper."""
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
from cifar_noise import write_noise
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torch import nn

import sskd_mm  # noqa: F401
from sskd_mm.distillers import lay_method_over
from sskd_mm.distillers.teacher import read_teacher_config

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'


@DATASETS.register_module()
class NoiseImages(BaseDataset):
    """Noise images, ready for the network, so that no file is read.

    Args:
        number (int): Number of images.
        size (tuple[int]): Height and width.
        classes (int): Number of classes.
        boxes (bool): Whether images have boxes for a detector instead of
            labels for a classifier. Defaults to False.
    """

    def __init__(self,
                 number: int,
                 size: Tuple[int, int],
                 classes: int,
                 boxes: bool = False) -> None:
        self.number, self.size, self.boxes = number, tuple(size), boxes
        super().__init__(
            metainfo=dict(classes=[f'class {i}' for i in range(classes)]))

    def load_data_list(self) -> List[dict]:
        height, width = self.size
        return [dict(height=height, width=width) for _ in range(self.number)]

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (3, *self.size), np.uint8)
        label = torch.tensor([index % len(self.metainfo['classes'])])
        if self.boxes:
            sample = DetDataSample()
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor([[20., 20., 120., 140.]]), labels=label)
        else:
            sample = DataSample(gt_label=label)
        sample.set_metainfo(
            dict(
                img_id=index,
                img_shape=self.size,
                ori_shape=self.size,
                scale_factor=(1., 1.)))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)


def _with_teacher(cfg: Config, work_dir: Path) -> Config:
    """Use a teacher with random weights, and no validation."""
    teacher = cfg.model.teacher.cfg
    whole = read_teacher_config(teacher)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(whole.model)
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    cfg.model.teacher.checkpoint = str(path)
    cfg.train_cfg.evaluate_teacher = False
    cfg.train_cfg.head.max_epochs = 0
    for key in ('cfg', 'dataloader', 'evaluator'):
        cfg[f'val_{key}'] = cfg[f'test_{key}'] = None
    cfg.default_hooks.checkpoint.interval = 1000
    cfg.log_level = 'WARNING'
    cfg.work_dir = str(work_dir)
    cfg.randomness = dict(seed=0)
    return cfg


def cifar(work_dir: Path, iters: int, batch_size: int = 128) -> Config:
    """CIFAR ResNet-56 to -20, with data in memory as in the configs.

    Args:
        work_dir (Path): Folder for weights, data and logs.
        iters (int): Iterations per phase.
        batch_size (int): Defaults to that of the configs.
    """
    cfg = Config.fromfile(CONFIGS /
                          'sskd/cifar10/resnet56_resnet20_cifar10.py')
    lay_method_over(cfg, CONFIGS / '_base_/methods/sskd_paper.py')
    cfg = _with_teacher(cfg, work_dir)
    cfg.train_cfg.mimic.max_epochs = 1
    data_root = work_dir / 'cifar10'
    if not data_root.exists():
        data_root.mkdir()
        write_noise(data_root)
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_dataloader.dataset.update(
        data_root=str(data_root), indices=iters * batch_size)
    return cfg


def detector(work_dir: Path, iters: int, batch_size: int = 2) -> Config:
    """Faster R-CNN R50-FPN to R18-FPN, five phases.

    Args:
        work_dir (Path): Folder for weights and logs.
        iters (int): Iterations per phase.
        batch_size (int): Defaults to that of the configs.
    """
    cfg = Config.fromfile(CONFIGS / 'sskd/faster_rcnn_r18_coco_paper.py')
    cfg.model.student.backbone.init_cfg = None
    cfg = _with_teacher(cfg, work_dir)
    cfg.train_cfg.mimic.max_epochs = 1
    cfg.train_cfg.phases = {}
    _take_noise(cfg, iters, batch_size, (256, 320), 80, boxes=True)
    return cfg


def imagenet(work_dir: Path, iters: int, batch_size: int = 8) -> Config:
    """ResNet-50 to -18 at 224 x 224, four phases.

    Args:
        work_dir (Path): Folder for weights and logs.
        iters (int): Iterations per phase.
        batch_size (int): Defaults to 8, which fits a small machine.
    """
    cfg = Config.fromfile(CONFIGS / 'sskd/imagenet/resnet34_resnet18_in1k.py')
    lay_method_over(cfg, CONFIGS / '_base_/methods/sskd_paper.py')
    cfg.model.teacher.cfg = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'
    cfg = _with_teacher(cfg, work_dir)
    cfg.train_cfg.mimic.max_epochs = 1
    _take_noise(cfg, iters, batch_size, (224, 224), 1000)
    return cfg


def siblings(work_dir: Path,
             iters: int,
             stages: int = 3,
             size: int = 32,
             batch_size: int = 16,
             images: int = 0,
             schedule: str = 'sequential') -> Config:
    """CIFAR ResNet-56 to another of the same depth, 27 blocks.

    Args:
        work_dir (Path): Folder for weights and logs.
        iters (int): Iterations per phase.
        stages (int): Number of equally spaced taps: 1, 3, 9 or 27. Defaults
            to 3, of nine blocks each.
        size (int): Height and width of an image. Defaults to 32.
        batch_size (int): Batch size per process. Defaults to 16.
        images (int): Size of the data set. Defaults to what ``iters`` needs.
        schedule (str): Defaults to ``'sequential'``.
    """
    cfg = Config.fromfile(CONFIGS /
                          'sskd/cifar10/resnet56_resnet20_cifar10.py')
    lay_method_over(cfg, CONFIGS / '_base_/methods/sskd_paper.py')
    blocks = [
        f'backbone.layer{layer}.{block}' for layer in range(1, 4)
        for block in range(9)
    ]
    cfg.model.stages = blocks[27 // stages - 1::27 // stages]
    cfg.model.inherit = []
    cfg.model.student.backbone.depth = 56
    cfg.data_preprocessor.type = 'ClsDataPreprocessor'
    cfg = _with_teacher(cfg, work_dir)
    cfg.train_cfg.mimic.max_epochs = 1
    cfg.train_cfg.schedule = schedule
    _take_noise(cfg, iters, batch_size, (size, size), 10)
    if images:
        cfg.train_dataloader.dataset.number = images
    return cfg


def _take_noise(cfg: Config, iters: int, batch_size: int,
                size: Tuple[int, int], classes: int, **kwargs) -> None:
    cfg.train_dataloader.update(
        batch_size=batch_size, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset = dict(
        type='NoiseImages',
        number=iters * batch_size,
        size=size,
        classes=classes,
        **kwargs)


def stages_of(model: nn.Module) -> List[nn.Module]:
    """Split a network at its taps. Each part is called with the output of the
    previous one, an FPN with the outputs of all."""
    net = model.backbone
    parts = [net.conv1, net.bn1, net.relu]
    if hasattr(net, 'maxpool'):
        parts.append(net.maxpool)
    layers = [m for name, m in net.named_children() if 'layer' in name]
    stages = [nn.Sequential(*parts, layers[0]), *layers[1:]]
    return stages + [model.neck] if hasattr(model, 'rpn_head') else stages
