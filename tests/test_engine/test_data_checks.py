# Copyright (c) sskd_mm authors. All rights reserved.
"""Errors in the data are found before training."""
import copy
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier

from sskd_mm.engine.feeds import DataFeed

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)


@MODELS.register_module()
class WithAttributes(ImageClassifier):

    def __init__(self, *args, attr_head, **kwargs):
        super().__init__(*args, **kwargs)
        self.attr_head = MODELS.build(attr_head)


def rewrite(cfg, key, path, change):
    """Give a loader a modified copy of its COCO file."""
    dataset = cfg[key].dataset
    with open(dataset.data_root + dataset.ann_file) as file:
        content = json.load(file)
    change(content)
    path.write_text(json.dumps(content))
    dataset.ann_file = str(path)
    if key == 'val_dataloader':
        cfg.val_evaluator.ann_file = str(path)


def in_capitals(content):
    for category in content['categories']:
        category['name'] = category['name'].upper()


def as_text(content):
    for annotation in content['annotations']:
        annotation['category_id'] = str(annotation['category_id'])


def backwards(content):
    content['categories'].reverse()


@pytest.mark.parametrize('key, change, message', [
    ('train_dataloader', in_capitals, "no category 'zero', 'one'"),
    ('val_dataloader', in_capitals, "no category 'zero', 'one'"),
    ('train_dataloader', as_text, "have category_id '"),
    ('val_dataloader', backwards, "Label 0 is 'zero' .* 'nine' in the second"),
])
def test_annotations(key, change, message, distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path / 'run')
    rewrite(cfg, key, tmp_path / 'changed.json', change)
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_metainfo_forgotten_in_validation(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.val_dataloader.dataset.pop('metainfo')
    with pytest.raises(ValueError, match="val_dataloader: .* 'person'"):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('length, batch_size', [(3, 4), (0, 4)])
def test_no_full_batch(length, batch_size):
    loader = dict(
        dataset=list(range(length)),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=batch_size,
        drop_last=True)
    with pytest.raises(ValueError, match=f'no batch: its data set has '
                       f'{length} images, .* batch of {batch_size}\\.'):
        DataFeed(loader, seed=0)


def test_pipeline_of_mmdet_2():
    image = dict(img=torch.zeros(3, 8, 8), gt_label=torch.tensor(1))
    loader = dict(
        dataset=[image],
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=1,
        collate_fn=dict(type='default_collate'))
    with pytest.raises(ValueError, match="returns 'img', 'gt_label', but .*"
                       "with dict.type='PackDetInputs'"):
        DataFeed(loader, seed=0).sample()


def test_nothing_is_left(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=4000)
    with pytest.raises(ValueError, match='train_dataloader.dataset has no im'):
        Runner.from_cfg(cfg).train()


def test_a_loader_that_is_not_built(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.test_dataloader.dataset.data_root = 'data/coco/'
    assert Runner.from_cfg(cfg).train_loop.phases


def distil(cfg, tmp_path, model, weights):
    torch.save(dict(state_dict=weights), tmp_path / 'teacher.pth')
    cfg.model = dict(
        type='StageByStageDistiller',
        student=model,
        teacher=dict(
            cfg=copy.deepcopy(dict(model)),
            checkpoint=str(tmp_path / 'teacher.pth')))
    cfg.train_cfg = dict(
        type='StageByStageTrainLoop',
        mimic=dict(max_epochs=1),
        head=dict(max_epochs=1))
    return cfg


def weights_of(model):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        return MODELS.build(copy.deepcopy(model)).state_dict()


def test_a_second_head(classifier_cfg, tmp_path):
    """It is refused unless accepted, and the teacher is evaluated by the head
    that fits."""
    cfg = classifier_cfg(tmp_path / 'run', RESNET, 32)
    cfg.model.update(
        type='WithAttributes',
        attr_head=dict(type='LinearClsHead', num_classes=5, in_channels=32))
    cfg = distil(cfg, tmp_path, cfg.model, weights_of(cfg.model))
    with pytest.raises(ValueError, match='student.attr_head.num_classes is 5'):
        Runner.from_cfg(cfg).train()
    cfg.train_cfg.accept_other_classes = True
    with pytest.raises(ValueError, match='one of 10 classes'):
        Runner.from_cfg(cfg).train()
    cfg.train_cfg.accept_weak_teacher = True
    Runner.from_cfg(cfg).train()
    assert (tmp_path / 'run' / 'result.json').exists()


@pytest.mark.parametrize('metric, name', [
    (dict(type='AveragePrecision'), 'multi-label/mAP'),
    (dict(type='MultiLabelMetric'), 'multi-label/precision'),
    (dict(type='MultiLabelMetric', average=None),
     'multi-label/precision_classwise'),
])
def test_random_teacher_of_several_labels(metric, name, tmp_path):
    rng = np.random.default_rng(0)
    images = []
    for number in range(24):
        file = f'{number}.png'
        cv2.imwrite(
            str(tmp_path / file), rng.integers(0, 256, (32, 32, 3), 'u1'))
        labels = np.flatnonzero(rng.random(4) < 0.45).tolist()
        images.append(dict(img_path=file, gt_label=labels))
    (tmp_path / 'labels.json').write_text(
        json.dumps(
            dict(metainfo=dict(classes=list('abcd')), data_list=images)))
    model = dict(
        type='ImageClassifier',
        data_preprocessor=dict(
            num_classes=4, to_onehot=True, mean=[128.] * 3, std=[60.] * 3),
        backbone=RESNET,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='MultiLabelLinearClsHead', num_classes=4, in_channels=32))
    loader = dict(
        batch_size=8,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='MultiLabelDataset',
            data_root=str(tmp_path),
            ann_file='labels.json',
            pipeline=[dict(type='LoadImageFromFile'),
                      dict(type='PackInputs')]))
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            work_dir=str(tmp_path / 'run'),
            experiment_name=name.replace('/', '_'),
            train_dataloader=loader,
            val_dataloader=loader,
            val_cfg=dict(),
            val_evaluator=metric,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01))))
    distil(cfg, tmp_path, model, weights_of(model))
    with pytest.raises(ValueError, match=f'The teacher scores {name}: '):
        Runner.from_cfg(cfg).train()
