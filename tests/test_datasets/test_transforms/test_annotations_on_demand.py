# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from sskd_mm.datasets import SeededDataset
from sskd_mm.datasets.digits_detection import CLASSES

LOAD = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
FLIP = dict(type='RandomFlip', prob=0.5)


def _dataset(digits, *steps):
    dataset = DATASETS.build(
        dict(
            type='mmdet.CocoDataset',
            data_root=f'{digits}/data/digits/',
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
            metainfo=dict(classes=CLASSES),
            pipeline=[
                dict(type='LoadImageFromFile'), *steps,
                dict(type='PackDetInputs')
            ]))
    return SeededDataset(dataset, 0)


def _list(batch):
    return batch


@pytest.mark.parametrize('workers', [0, 1])
def test_same_images_without_annotations(digits, in_mmdet, workers):
    dataset = _dataset(
        digits, LOAD, dict(type='Resize', scale=(96, 96), keep_ratio=True),
        FLIP)
    loader = DataLoader(
        dataset,
        batch_size=8,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_list)
    with_them, without, again = [], [], []
    for annotated, samples in ((True, with_them), (False, without), (True,
                                                                     again)):
        dataset.set_annotated(annotated)
        for batch in loader:
            samples += batch
    assert sum(len(s['data_samples'].gt_instances) for s in with_them) > 9
    flips = {s['data_samples'].flip for s in with_them}
    assert flips == {False, True}
    for one, two, three in zip(with_them, without, again):
        assert torch.equal(one['inputs'], two['inputs'])
        assert torch.equal(one['inputs'], three['inputs'])
        known, unknown = one['data_samples'], two['data_samples']
        assert known.img_shape == unknown.img_shape
        assert known.flip == unknown.flip
        assert len(known.gt_instances.masks) == len(known.gt_instances)
        assert 'masks' in three['data_samples'].gt_instances
        assert not unknown.gt_instances.keys()


@pytest.mark.parametrize('step', [
    dict(type='RandomCrop', crop_size=(64, 64)),
    dict(type='MinIoURandomCrop'),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)),
])
def test_always_where_images_depend_on_them(digits, in_mmdet, step):
    dataset = _dataset(digits, LOAD, step)
    dataset.set_annotated(False)
    assert len(dataset[0]['data_samples'].gt_instances) > 0


class _Seen(Hook):

    def __init__(self):
        self.phases = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        name = runner.train_loop.phase.name
        self.phases.setdefault(name, set()).update(
            bool(sample.gt_instances.keys())
            for sample in data_batch['data_samples'])


RESIZE = dict(
    type='BatchSyncRandomResize',
    random_size_range=(64, 128),
    size_divisor=32,
    interval=1)


@pytest.mark.parametrize('foreground, augments', [(None, None), (0.5, None),
                                                  (None, [RESIZE])])
def test_phases(distill_cfg, tmp_path, foreground, augments):
    """Only a head, a loss that looks at objects, or what resizes a batch and
    its boxes gets annotations."""
    cfg = distill_cfg(tmp_path)
    cfg.model.stages = ['neck']
    cfg.model.mimic_loss.foreground = foreground
    cfg.model.student.data_preprocessor.batch_augments = augments
    cfg.train_cfg.evaluate_teacher = False
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    seen = _Seen()
    runner.register_hook(seen)
    runner.train()
    assert seen.phases == {
        'mimic/neck': {bool(foreground or augments)},
        'head': {True}
    }
