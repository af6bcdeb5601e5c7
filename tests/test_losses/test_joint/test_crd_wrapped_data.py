# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)


def concat(train, val):
    return dict(type='ConcatDataset', datasets=[train, val])


def repeat(train, val):
    return dict(type='RepeatDataset', times=2, dataset=val)


def balanced(train, val):
    return dict(type='ClassBalancedDataset', oversample_thr=0.3, dataset=val)


@pytest.mark.parametrize('wrap, batches, size', [(concat, None, 30),
                                                 (repeat, None, 20),
                                                 (balanced, None, 20),
                                                 (concat, 2, 16)])
def test_every_image_has_an_entry_of_its_own(wrap, batches, size,
                                             classifier_cfg, tmp_path):
    """Two folders of 20 and 10 images have 30 entries. In one epoch each
    entry gets the class of its image."""
    cfg = classifier_cfg(tmp_path, RESNET, 32)
    teacher = copy.deepcopy(cfg.model)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'teacher.pth')
    cfg.model = dict(
        type='JointDistiller',
        student=cfg.model,
        teacher=dict(
            cfg=teacher.to_dict(), checkpoint=str(tmp_path / 'teacher.pth')),
        losses=[dict(type='CRDLoss', dim=4, num_negatives=8)])
    cfg.train_cfg = dict(
        type='StageByStageTrainLoop',
        mimic=dict(max_epochs=0),
        head=dict(max_epochs=0),
        finetune=dict(max_epochs=1),
        evaluate_teacher=False)
    cfg.train_dataloader.dataset = wrap(cfg.train_dataloader.dataset,
                                        cfg.val_dataloader.dataset)
    if batches:
        cfg.train_dataloader.num_batch_per_epoch = batches
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    loss = runner.model.joint_losses['crd']
    dataset = runner.train_dataloader.dataset
    assert len(dataset) == len(loss.student_bank) == size
    assert loss.classes.tolist() == [
        dataset.get_data_info(i)['gt_label'] for i in range(size)
    ]
