# Copyright (c) sskd_mm authors. All rights reserved.
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.evaluation import AveragePrecision, MultiLabelMetric

from sskd_mm.analysis import check_teacher_metrics

NAN = float('nan')


@pytest.mark.parametrize('metrics, num_classes, message', [
    ({
        'accuracy/top1': 15.0,
        'accuracy/top5': 50.0
    }, 10, 'top1: 15 %.* one of 10 classes gives 10 %.*15 % may be luck'),
    ({
        'accuracy/top1': 55.0
    }, 2, 'one of 2 classes gives 50 % and up to 55 %'),
    ({
        'single-label/precision': 30.0,
        'accuracy/top1': 0.1
    }, 1000, 'accuracy/top1: 0.1 %'),
    ({
        'coco/bbox_mAP': 0.009,
        'coco/bbox_mAP_50': 0.3
    }, 3, 'coco/bbox_mAP: 0.009'),
    # No ground truth at all.
    ({
        'coco/bbox_mAP': -1.0
    }, 3, 'coco/bbox_mAP: -1'),
    # With classwise=True the classes come first.
    ({
        'coco/person_precision': 0.5,
        'coco/bbox_mAP': 0.0
    }, 3, 'coco/bbox_mAP: 0,'),
    ({
        'AR@100': 0.001
    }, 3, 'AR@100: 0.001'),
    ({
        'face/TAR@FAR=0.1': 60.0,
        'face/AUC': 54.0,
        'face/EER': 47.0
    }, 3, 'face/AUC: 54 %, while guessing gives 50 %'),
    ({
        'loss': NAN
    }, 3, 'loss: nan'),
    ({}, 3, 'no metric at all, as when a detector finds nothing'),
])
def test_refused(metrics, num_classes, message):
    with pytest.raises(ValueError, match=message) as e:
        check_teacher_metrics(metrics, num_classes)
    assert 'train_cfg.accept_weak_teacher=True' in str(e.value)


@pytest.mark.parametrize('metrics, num_classes', [
    ({
        'accuracy/top1': 15.1
    }, 10),
    ({
        'accuracy/top1': 56.0
    }, 2),
    ({
        'accuracy/top1': 0.0
    }, None),
    ({
        'coco/bbox_mAP': 0.011,
        'coco/bbox_mAP_s': -1.0
    }, 3),
    ({
        'coco/person_precision': NAN,
        'coco/bbox_mAP': 0.3
    }, 3),
    ({
        'pascal_voc/AP50': 0.0,
        'pascal_voc/mAP': 0.5
    }, 3),
    ({
        'face/TAR@FAR=0.001': 0.0,
        'face/AUC': 56.0,
        'face/EER': 46.0
    }, 3),
    # Not of faces: a share.
    ({
        'coco/AUC': 0.6
    }, 3),
    ({
        'MAPE': 0.001
    }, 3),
    ({
        'error': 0.0
    }, 3),
])
def test_accepted(metrics, num_classes):
    check_teacher_metrics(metrics, num_classes)


def random_labels(num_images, frequencies, seed):
    return np.random.default_rng(seed).random(
        (num_images, len(frequencies))) < frequencies


PERCENT = [
    # mmpretrain's, in percent: of ten classes a constant answer has 1, a
    # random one 10.
    ('single-label/precision', 'single-label/recall', 0.8, 10, True),
    ('single-label/precision', 'single-label/recall', 4.0, 10, True),
    ('single-label/f1-score_micro', 'single-label/support', 15.0, 10, True),
    ('single-label/f1-score', 'single-label/support', 15.1, 10, False),
    ('single-label/recall_thr-0.50', 'single-label/support', 4., 10, True),
    # With a prefix of the user's own.
    ('val/precision', 'val/recall', 9.0, 10, True),
    ('val/precision', 'val/recall', 16.0, 10, False),
    ('accuracy/top5', 'accuracy/top10', 60.0, 8, True),
    ('accuracy/top5', 'accuracy/top10', 67.0, 8, False),
    ('mIoU', 'aAcc', 0.9, 20, False),  # a share
    ('coco_panoptic/PQ', 'coco_panoptic/SQ', 0.7, 20, True),
    ('coco_panoptic/PQ', 'coco_panoptic/SQ', 3.0, 20, False),
    ('retrieval/Recall@1', 'retrieval/Recall@5', 0.9, 20, True),
    # Shares.
    ('custom/precision', 'custom/recall', 0.4, 10, False),
    ('custom/precision', 'custom/recall', 0.004, 10, True),
    ('pascal_voc/recall@100@0.5', 'pascal_voc/AR@100', 0.3, 10, False),
]


@pytest.mark.parametrize('name, beside, value, num_classes, weak', PERCENT)
def test_percent_and_shares(name, beside, value, num_classes, weak):
    metrics = {name: value, beside: value}
    if not weak:
        return check_teacher_metrics(metrics, num_classes)
    with pytest.raises(ValueError, match=re.escape(f'{name}: {value:.4g}')):
        check_teacher_metrics(metrics, num_classes)


def test_of_thresholds_the_best_counts():
    metrics = {'accuracy/top1_no-thr': 80., 'accuracy/top1_thr-0.90': 2.}
    check_teacher_metrics(metrics, 10)
    metrics['accuracy/top1_no-thr'] = 12.
    with pytest.raises(ValueError, match='top1_no-thr: 12 %'):
        check_teacher_metrics(metrics, 10)


def test_one_value_a_class():
    """Which is no scalar, but no missing metric either."""
    check_teacher_metrics({'single-label/precision_classwise': [60., 80.]}, 2)
    with pytest.raises(ValueError, match='precision_classwise: 50 %'):
        check_teacher_metrics({'single-label/precision_classwise': [20., 80.]},
                              2)
    check_teacher_metrics({'confusion_matrix/result': torch.eye(3)}, 3)


@pytest.mark.parametrize('frequencies', [(0.6, 0.5, 0.3), (0.1, ) * 8])
@pytest.mark.parametrize('num_images', [12, 200])
def test_random_scores_of_several_labels(frequencies, num_images):
    """By mmpretrain's own metric: random networks are refused, by far the
    most of them where images are few, and one that ranks well is not."""
    refused = 0
    for seed in range(30):
        labels = random_labels(num_images, frequencies, seed)
        scores = np.random.default_rng(1000 + seed).random(labels.shape)
        score = float(AveragePrecision.calculate(scores, labels.astype('f4')))
        try:
            check_teacher_metrics({'multi-label/mAP': score}, 8, labels)
        except ValueError as error:
            assert 'a random order of the images gives' in str(error)
            refused += 1
    assert refused >= 20
    good = float(
        AveragePrecision.calculate(scores + labels, labels.astype('f4')))
    check_teacher_metrics({'multi-label/mAP': good}, 8, labels)


def test_chance_of_several_labels():
    """Against the mean over many random orders."""
    labels = random_labels(10, (0.5, 0.2), 3)
    assert labels.any(0).all()
    rng = np.random.default_rng(0)
    mean = np.mean([
        float(
            AveragePrecision.calculate(
                rng.random(labels.shape), labels.astype('f4')))
        for _ in range(3000)
    ])
    with pytest.raises(ValueError) as error:
        check_teacher_metrics({'multi-label/mAP': 1.}, 2, labels)
    chance = float(re.search(r'images gives (\S+) %', str(error.value))[1])
    assert chance == pytest.approx(mean, abs=0.7)
    assert chance > 100 * labels.mean() + 5


def test_yes_to_all_of_several_labels():
    labels = random_labels(50, (0.4, 0.3, 0.2), 0)
    yes = np.ones_like(labels, 'f4')
    values = [
        float(x) for x in MultiLabelMetric.calculate(
            yes, labels.astype('i8'), average='macro', thr=0.5)[:3]
    ]
    for name, value in zip(('precision', 'recall', 'f1-score'), values):
        metrics = {f'multi-label/{name}': value}
        if name == 'recall':
            assert value == 100
            check_teacher_metrics(metrics, 3, labels)
            continue
        with pytest.raises(ValueError, match='saying yes to all labels'):
            check_teacher_metrics(metrics, 3, labels)
        check_teacher_metrics({f'multi-label/{name}': 80.}, 3, labels)


@pytest.mark.parametrize('layer, index, value, message', [
    # All of its boxes are tiny and elsewhere.
    ('fc_reg', slice(None), -20., 'scores coco/bbox_mAP: 0, while a'),
    # All it sees is background.
    ('fc_cls', -1, 100., 'has no metric at all'),
])
def test_such_a_teacher_stops_a_run(distill_cfg, teacher_checkpoint, tmp_path,
                                    layer, index, value, message):
    checkpoint = torch.load(teacher_checkpoint)
    bias = checkpoint['state_dict'][f'roi_head.bbox_head.{layer}.bias']
    bias[index] = value
    torch.save(checkpoint, tmp_path / 'weak.pth')
    cfg = distill_cfg(tmp_path / 'run')
    cfg.model.teacher.checkpoint = str(tmp_path / 'weak.pth')
    cfg.train_cfg.pop('accept_weak_teacher')
    cfg.train_cfg.mimic.max_epochs = 0
    cfg.train_cfg.phases = {'mimic/layer1': dict(max_epochs=1)}
    cfg.train_cfg.head.max_epochs = 0
    cfg.train_dataloader.dataset.indices = 8
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match=f'The teacher {message}'):
        runner.train()
    assert runner.iter == 0
    cfg.train_cfg.accept_weak_teacher = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 1


def test_teacher_of_other_classes_is_not_evaluated(distill_cfg, tmp_path,
                                                   root):
    """One of COCO, say: CocoMetric would not know its class 42."""
    teacher = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r50_fpn_digits.py')
    teacher.model.roi_head.bbox_head.num_classes = 80
    teacher.model.test_cfg.rcnn.score_thr = 0.0
    teacher.dump(tmp_path / 'teacher.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(teacher.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'teacher.pth')
    cfg = distill_cfg(tmp_path / 'run')
    cfg.model.teacher.update(
        cfg=str(tmp_path / 'teacher.py'),
        checkpoint=str(tmp_path / 'teacher.pth'))
    cfg.train_cfg.pop('accept_weak_teacher')
    cfg.train_cfg.mimic.max_epochs = 0
    cfg.train_cfg.phases = {'mimic/layer1': dict(max_epochs=1)}
    cfg.train_dataloader.dataset.indices = 8
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 2
    log, = (tmp_path / 'run').glob('*/*.log')
    log = log.read_text()
    assert log.count(
        'The teacher is not evaluated: its roi_head.bbox_head has 80 '
        'classes, the validation set 10 others') == 1
    assert 'Evaluating the teacher' not in log
    # It is for a reason.
    with pytest.raises(IndexError):
        loop = Runner.from_cfg(cfg).train_loop
        loop.validate_teacher(loop.distiller.teachers[0])


def test_classifier(tmp_path):
    """A teacher that says the same of any image: exactly chance."""
    images = np.random.RandomState(0)
    for name in ('ant', 'bee', 'cow'):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for k in range(4):
            image = images.randint(0, 256, (32, 32, 3), 'u1')
            cv2.imwrite(str(tmp_path / 'data' / name / f'{k}.png'), image)
    model = dict(
        type='ImageClassifier',
        data_preprocessor=dict(mean=[128] * 3, std=[64] * 3),
        backbone=dict(
            type='ResNet', depth=18, base_channels=8, stem_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        teacher = MODELS.build(model)
    torch.nn.init.zeros_(teacher.head.fc.weight)
    torch.save(
        dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(
            type='CustomDataset',
            data_root=str(tmp_path / 'data'),
            pipeline=[dict(type='LoadImageFromFile'),
                      dict(type='PackInputs')]))
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            work_dir=str(tmp_path / 'run'),
            model=dict(
                type='StageByStageDistiller',
                student=model,
                teacher=dict(
                    cfg=model, checkpoint=str(tmp_path / 'teacher.pth'))),
            train_dataloader=loader,
            val_dataloader=loader,
            val_evaluator=dict(type='Accuracy', topk=(1, )),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            train_cfg=dict(
                type='StageByStageTrainLoop',
                mimic=dict(max_epochs=1),
                head=dict(max_epochs=1))))
    with pytest.raises(
            ValueError,
            match='accuracy/top1: 33.33 %.* one of 3 classes gives 33.33 %'):
        Runner.from_cfg(cfg).train()
    cfg.train_cfg.accept_weak_teacher = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == len(runner.train_loop.phases)
