# Copyright (c) sskd_mm authors. All rights reserved.
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmdet import datasets
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.datasets import (SeededDataset, check_num_classes, head_classes,
                              misfit_heads)


def data_of(*classes, **metainfo):
    return SimpleNamespace(metainfo=dict(classes=classes, **metainfo))


@pytest.fixture(scope='module')
def detector(root):
    cfg = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """A data set of mmpretrain that finds its classes by itself."""
    root = tmp_path_factory.mktemp('animals')
    for name in ('ant', 'bee', 'cow'):
        (root / name).mkdir()
        cv2.imwrite(str(root / name / '0.png'), np.zeros((32, 32, 3), 'u1'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(
            dict(type='CustomDataset', data_root=str(root), pipeline=[]))
    dataset.full_init()
    return dataset


def classifier(num_classes):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='ImageClassifier',
                # A number of its own, which is no head's.
                backbone=dict(type='LeNet5', num_classes=-1),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead',
                    num_classes=num_classes,
                    in_channels=120)))


def test_heads_of_a_detector(detector):
    """Not the RPN's."""
    assert detector.rpn_head.num_classes == 1
    assert head_classes(detector) == {'roi_head.bbox_head': 10}


@pytest.mark.parametrize('dataset, number', [('LVISV1Dataset', 1203),
                                             ('Objects365V1Dataset', 365),
                                             ('Objects365V2Dataset', 365),
                                             ('VOCDataset', 20)])
def test_every_head_is_named(root, dataset, number):
    """Of a detector for COCO, with data that have other classes."""
    cfg = Config.fromfile(
        root / 'configs/baselines/mask-rcnn_r18_fpn_1x_coco.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    metainfo = getattr(datasets, dataset).METAINFO
    with pytest.raises(ValueError, match=f'which has {number} classes:') as e:
        check_num_classes(model, SimpleNamespace(metainfo=metainfo))
    assert ('\n  model.student.roi_head.bbox_head.num_classes is 80'
            '\n  model.student.roi_head.mask_head.num_classes is 80'
            f'\nSet it to {number} in') in str(e.value)
    model.roi_head.bbox_head.num_classes = number
    model.roi_head.mask_head.num_classes = number
    check_num_classes(model, SimpleNamespace(metainfo=metainfo))


def test_rpn_alone():
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(
            dict(
                type='RPN',
                backbone=dict(type='ResNet', depth=18),
                neck=None,
                rpn_head=dict(
                    type='RPNHead',
                    in_channels=512,
                    anchor_generator=dict(
                        type='AnchorGenerator',
                        scales=[8],
                        ratios=[1.],
                        strides=[32])),
                train_cfg=dict(rpn=None),
                test_cfg=dict(rpn=None)))
    assert model.bbox_head.num_classes == 1
    assert head_classes(model) == {}


def test_classifier(folders):
    check_num_classes(classifier(3), folders)
    with pytest.raises(ValueError, match='CustomDataset of .*animals') as e:
        check_num_classes(
            classifier(5), SeededDataset(RepeatDataset(folders, 2), 0))
    assert ('3 classes:\n  model.student.head.num_classes is 5\nSet it to 3 '
            in str(e.value))
    assert 'they are ant, bee, cow.' in str(e.value)
    assert misfit_heads(
        classifier(5), ConcatDataset([folders, folders])) == {
            'head': 5
        }


def test_a_second_head_for_other_labels(folders, logged):
    """It is named, and passes if it is meant."""
    model = classifier(3)
    model.attr_head = classifier(5).head
    with pytest.raises(ValueError) as error:
        check_num_classes(model, folders)
    assert ('\n  model.student.attr_head.num_classes is 5\nSet it to 3 in'
            in str(error.value))
    assert 'train_cfg.accept_other_classes=True' in str(error.value)
    check_num_classes(model, folders, accept_other_classes=True)
    assert 'model.student.attr_head.num_classes is 5' in logged.text


def test_data_that_does_not_tell_is_not_checked(detector):
    check_num_classes(detector, SimpleNamespace())
    check_num_classes(detector, SimpleNamespace(metainfo={}))


def test_panoptic_data(detector):
    """Boxes are of its things alone."""
    names = [str(n) for n in range(10)]
    check_num_classes(
        detector, data_of(*names, 'sky', 'sea', thing_classes=tuple(names)))
    with pytest.raises(ValueError, match='which has 12'):
        check_num_classes(detector, data_of(*names, 'sky', 'sea'))


def test_forgotten_comma(detector):
    with pytest.raises(ValueError, match=r"Use a tuple, .*\('cat', \)"):
        check_num_classes(
            detector, SimpleNamespace(metainfo=dict(classes=('cat'))))


def test_misspelt_class(detector, digits):
    """mmdet would leave its boxes out and renumber the classes behind."""
    names = [
        'zero', 'one', 'Two', 'three', 'four', 'five', 'six', 'seven', 'eight',
        'nine'
    ]
    cfg = dict(
        type='CocoDataset',
        data_root=f'{digits}/data/digits/',
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=names))
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = RepeatDataset(DATASETS.build(cfg), 2)
        with pytest.raises(ValueError, match="has no category 'Two', but"):
            check_num_classes(detector, dataset)
        names[2] = 'two'
        check_num_classes(detector, RepeatDataset(DATASETS.build(cfg), 2))


def test_loop_refuses_such_a_student(distill_cfg, tmp_path):
    """Before it so much as builds the teacher."""
    cfg = distill_cfg(tmp_path)
    cfg.model.teacher.checkpoint = str(tmp_path / 'empty.pth')
    (tmp_path / 'empty.pth').touch()
    cfg.model.student.roi_head.bbox_head.num_classes = 80
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError) as e:
        runner.train()
    message = str(e.value)
    assert ('\n  model.student.roi_head.bbox_head.num_classes is 80\nSet it '
            'to 10 in') in message
    assert 'CocoDataset of ' in message
    assert 'instances_train.json, which has 10 classes' in message
    assert 'zero, one, two, three, four, ...' in message
