# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.datasets import CIFARInMemory
from sskd_mm.distillers.renormalize import Renormalize
from sskd_mm.models.data_preprocessors.crop_flip_data_preprocessor import (
    CropFlipDataPreprocessor, crop_and_flip)

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)


@pytest.fixture(autouse=True)
def in_mmpretrain():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def test_same_pixels_as_the_standard_pipeline(cifar):
    """mmpretrain's transforms and preprocessor for the same draw."""
    dataset = CIFARInMemory(str(cifar))
    crop = TRANSFORMS.build(dict(type='RandomCrop', crop_size=32, padding=4))
    flip = TRANSFORMS.build(dict(type='RandomFlip', prob=0.5))
    pack = TRANSFORMS.build(dict(type='PackInputs'))
    plain = MODELS.build(dict(type='ClsDataPreprocessor', **NORM))
    rng = np.random.default_rng(0)
    draws = np.stack(
        [rng.integers(0, 9, 40),
         rng.integers(0, 9, 40),
         rng.integers(0, 2, 40)], 1)
    draws[:2] = [0, 8, 1], [8, 0, 0]  # the corners
    samples = []
    for index, (top, left, flipped) in enumerate(draws):
        crop.rand_crop_params = lambda img: (top, left, 32, 32)
        flip._choose_direction = lambda: 'horizontal' if flipped else None
        samples.append(pack(flip(crop(dataset.get_data_info(index)))))
    expected = plain(default_collate(samples), True)

    ours = MODELS.build(dict(type='CropFlipDataPreprocessor', **NORM))
    drawn = torch.from_numpy(draws)
    ours.augment = lambda images: crop_and_flip(
        images, 4, drawn[:, 0], drawn[:, 1], drawn[:, 2].bool())
    batch = [dataset[i] for i in range(40)]
    for collate in (default_collate, pseudo_collate):
        found = ours(collate(copy.deepcopy(batch)), True)
        assert torch.equal(found['inputs'], expected['inputs'])
        for a, b in zip(found['data_samples'], expected['data_samples']):
            assert torch.equal(a.gt_label, b.gt_label)


def test_distribution_of_the_draw():
    """Every offset and flip as often as it should be, and independent."""
    # Pixels that tell where they come from, so what is cut out tells its
    # offset and flip.
    place = torch.arange(1, 32 * 32 + 1).reshape(1, 1, 32, 32)
    number = 40000
    torch.manual_seed(0)
    images = CropFlipDataPreprocessor(**NORM).augment(
        place.expand(number, 1, 32, 32))
    middle = images[:, 0, 15, 15:17] - 1
    flips = middle[:, 0] > middle[:, 1]
    top = middle.amin(1) // 32 - 11
    left = middle.amin(1) % 32 - 11
    counts = torch.zeros(9, 9, 2)
    counts.index_put_((top, left, flips.long()),
                      torch.ones(number),
                      accumulate=True)
    expected = number / counts.numel()
    chi_square = ((counts - expected)**2 / expected).sum()
    # 161 degrees of freedom: mean 161, deviation 18.
    assert 161 - 72 < chi_square < 161 + 72


def test_options():
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    torch.manual_seed(0)
    kept = CropFlipDataPreprocessor(padding=0, flip_prob=0., **NORM)
    assert torch.equal(kept.augment(images), images)
    flipped = CropFlipDataPreprocessor(padding=0, flip_prob=1., **NORM)
    assert torch.equal(flipped.augment(images), images.flip(3))


def test_does_nothing_in_a_test(cifar):
    dataset = CIFARInMemory(str(cifar))
    batch = default_collate([dataset[i] for i in range(8)])
    plain = MODELS.build(dict(type='ClsDataPreprocessor', **NORM))
    ours = MODELS.build(dict(type='CropFlipDataPreprocessor', **NORM))
    assert torch.equal(ours(batch)['inputs'], plain(batch)['inputs'])


def test_mixing_goes_with_it(cifar):
    dataset = CIFARInMemory(str(cifar))
    ours = MODELS.build(
        dict(
            type='CropFlipDataPreprocessor',
            num_classes=10,
            batch_augments=dict(augments=dict(type='Mixup', alpha=1.)),
            **NORM))
    data = ours(default_collate([dataset[i] for i in range(8)]), True)
    scores = torch.stack([s.gt_score for s in data['data_samples']])
    assert scores.shape == (8, 10) and ((scores > 0) & (scores < 1)).any()


def test_a_teacher_sees_the_same_images_renormalised():
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    ours = CropFlipDataPreprocessor(**NORM)
    teacher = CropFlipDataPreprocessor(
        mean=[100., 110., 120.], std=[50., 60., 70.], to_rgb=True)
    found = []
    for preprocessor in (ours, teacher):
        torch.manual_seed(0)
        found.append(preprocessor(dict(inputs=images), True)['inputs'])
    torch.testing.assert_close(
        Renormalize(ours, teacher)(found[0]), found[1], rtol=1e-4, atol=1e-5)


def _config(classifier_cfg, cifar, work_dir):
    cfg = classifier_cfg(work_dir, RESNET, 32)
    cfg.data_preprocessor.type = 'CropFlipDataPreprocessor'
    for key, split in (('train', 'train'), ('val', 'test')):
        cfg[f'{key}_dataloader'].dataset = dict(
            type='CIFARInMemory', data_root=str(cifar), split=split)
        cfg[f'{key}_dataloader'].collate_fn = dict(type='default_collate')
    return cfg


def test_plain_mmpretrain_training(classifier_cfg, cifar, tmp_path):
    cfg = _config(classifier_cfg, cifar, tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.train()
    top1 = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert 0 <= top1 <= 100 and runner.iter == 5


def test_distillation_draws_by_its_position(classifier_cfg, cifar, tmp_path):
    """Two runs train on equal batches, which differ from epoch to epoch."""
    seen = []
    for name in ('one', 'two'):
        cfg = _config(classifier_cfg, cifar, tmp_path / name)
        teacher = copy.deepcopy(cfg.model)
        torch.manual_seed(0)
        weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
        torch.save(dict(state_dict=weights), tmp_path / 'teacher.pth')
        cfg.model = dict(
            type='StageByStageDistiller',
            student=cfg.model,
            teacher=dict(
                cfg=dict(
                    data_preprocessor=dict(
                        type='CropFlipDataPreprocessor', **NORM),
                    **teacher),
                checkpoint=str(tmp_path / 'teacher.pth')),
            stages=['backbone.layer4'])
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=2),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        runner = Runner.from_cfg(cfg)
        batches = []
        augment = CropFlipDataPreprocessor.augment

        def keep(self, images):
            batches.append(augment(self, images))
            return batches[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CropFlipDataPreprocessor, 'augment', keep)
            runner.train()
        # The first is of the trial before training.
        seen.append(batches[1:])
    assert len(seen[0]) == len(seen[1]) == 15
    assert all(map(torch.equal, *seen))
    assert not torch.equal(seen[0][0], seen[0][5])


def test_classes_that_do_not_fit(classifier_cfg, cifar, tmp_path):
    cfg = _config(classifier_cfg, cifar, tmp_path)
    cfg.train_dataloader.dataset.layout = 'cifar100'
    cfg.model = dict(
        type='StageByStageDistiller',
        student=cfg.model,
        teacher=dict(cfg='none.py', checkpoint='none.pth'))
    cfg.train_cfg = dict(
        type='StageByStageTrainLoop',
        mimic=dict(max_epochs=1),
        head=dict(max_epochs=1))
    runner = Runner.from_cfg(cfg)
    with pytest.raises(
            ValueError,
            match=f'CIFARInMemory of {cifar}/?, which has 100 classes:\n'
            '  model.student.head.num_classes is 10'):
        runner.train()
    cfg.train_dataloader.dataset.data_root = f'{tmp_path}/none'
    with pytest.raises(FileNotFoundError, match='none/cifar-100-python/meta'):
        Runner.from_cfg(cfg).train()
