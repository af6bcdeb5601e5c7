# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import json

import pytest
import torch
from mmengine.config import Config

from sskd_mm.models import build_model

SMALL, LARGE = 'configs/digits/small.py', 'configs/digits/large.py'
TEACHER = 'checkpoints/large.pth'


def test_detector(make, own_project, capsys):
    out = own_project / 'configs/new/distilled.py'
    cfg = make(out, SMALL, LARGE, TEACHER, '--allow-pickle', TEACHER)
    assert (own_project / TEACHER).samefile(cfg.allow_pickle[0])
    printed = capsys.readouterr().out
    for text in ('mimic/neck', 'ground truth', f'train.py {out}'):
        assert text in printed
    assert cfg.custom_imports == dict(
        imports=['sskd_mm', 'my_project'], allow_failed_imports=False)
    assert cfg.model.student.backbone == dict(type='Plain', width=8)
    assert cfg.model.stages == ['neck']
    assert cfg.model.inherit == ['neck', 'bbox_head']
    # 12 epochs from scratch, in the proportions of the recipe for COCO.
    train_cfg = cfg.train_cfg
    assert [train_cfg[phase].max_epochs
            for phase in ('mimic', 'head', 'finetune')] == [5, 1, 6]
    assert train_cfg.head.optim_wrapper.optimizer.lr == 0.0035
    assert train_cfg.finetune.optim_wrapper.optimizer.lr == 0.007
    assert train_cfg.val_interval == 3
    # Two iterations an epoch: a tenth of the head phase is less than one.
    assert cfg.param_scheduler[0].end == 1
    # From elsewhere, too.
    assert (own_project / TEACHER).samefile(cfg.model.teacher.checkpoint)
    assert (own_project / LARGE).samefile(cfg.model.teacher.cfg)
    with pytest.raises(FileExistsError, match='is there already'):
        make(out, SMALL, LARGE, TEACHER)


def test_classifier(make, classifiers):
    cfg = make(classifiers / 'out.py', classifiers / 'small.py',
               classifiers / 'large.py', classifiers / 'large.pth')
    assert cfg.model.stages == ['auto', 'neck']
    assert cfg.model.student.backbone.frozen_stages == -1
    # 64 channels do not fit 256, so there is nothing to inherit.
    assert 'inherit' not in cfg.model
    assert cfg.train_cfg.schedule == ['joint', 'last']
    assert cfg.train_cfg.mimic.max_epochs == 18
    assert cfg.train_cfg.mimic.optim_wrapper.optimizer == dict(lr=0.5)
    assert cfg.train_cfg.head.max_epochs == 4
    assert cfg.train_cfg.head.cached_passes == 1


@pytest.mark.parametrize('also', ['student', 'teacher', 'both'])
def test_two_necks(also, make, classifiers):
    """A neck with weights is a stage for 'auto', and is listed once."""
    for name, width in (('small', 64), ('large', 256)):
        cfg = Config.fromfile(classifiers / f'{name}.py')
        if also in (dict(small='student', large='teacher')[name], 'both'):
            cfg.model.neck = [
                cfg.model.neck,
                dict(type='LinearNeck', in_channels=width, out_channels=32)
            ]
            cfg.model.head.in_channels = 32
            cfg.dump(classifiers / f'{name}.py')
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()),
        classifiers / 'large.pth')
    made = make(classifiers / 'out.py', classifiers / 'small.py',
                classifiers / 'large.py', classifiers / 'large.pth')
    layers = [f'backbone.layer{i}' for i in range(1, 5)]
    assert made.model.stages == (
        ['auto'] if also == 'both' else [*layers, 'neck'])


def test_features_that_cannot_be_cached(make, classifiers, tmp_path, capsys):
    """The engine refuses to cache features of images with several labels."""
    labels = dict(
        metainfo=dict(classes=[str(i) for i in range(10)]),
        data_list=[
            dict(img_path=f'{i}/1.png', gt_label=[i, (i + 1) % 10])
            for i in range(10)
        ])
    (tmp_path / 'labels.json').write_text(json.dumps(labels))
    for name in ('small', 'large'):
        cfg = Config.fromfile(classifiers / f'{name}.py')
        cfg.model.head.type = 'MultiLabelLinearClsHead'
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        data = cfg.train_dataloader.dataset
        data.update(
            type='MultiLabelDataset',
            ann_file=str(tmp_path / 'labels.json'),
            data_prefix=data.pop('data_root'))
        cfg.dump(classifiers / f'{name}.py')
    made = make(classifiers / 'out.py', classifiers / 'small.py',
                classifiers / 'large.py', classifiers / 'large.pth')
    assert 'cached_passes' not in made.train_cfg.head
    assert 'one label each' in capsys.readouterr().out


def test_faces(make, classifier_cfg, tmp_path):
    for name, depth in (('small', 18), ('large', 34)):
        backbone = dict(
            type='IResNet', depth=depth, embedding=16, input_size=32)
        cfg = classifier_cfg(tmp_path / 'run', backbone, 16, neck=None)
        cfg.model.head.type = 'ArcFaceHead'
        cfg.train_cfg.max_epochs = 20
        cfg.dump(tmp_path / f'{name}.py')
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()), tmp_path / 'large.pth')
    cfg = make(tmp_path / 'out.py', tmp_path / 'small.py',
               tmp_path / 'large.py', tmp_path / 'large.pth')
    assert cfg.model.stages == ['auto', 'backbone.features']
    assert cfg.model.inherit == ['head']
    assert [cfg.train_cfg[phase].max_epochs
            for phase in ('mimic', 'head')] == [19, 1]


@pytest.mark.parametrize('classes, message', [
    (('zero', 'two', 'one'),
     "Class 1 is 'one' in the training data, but 'two' in the teacher's"),
    (('zero', 'one'), "Class 2 is 'two' in the training data, but None"),
])
def test_other_names(make, own_project, tmp_path, classes, message):
    checkpoint = torch.load(own_project / TEACHER, weights_only=True)
    # As of mmcv before MMEngine.
    checkpoint['meta'] = dict(CLASSES=classes)
    torch.save(checkpoint, tmp_path / 'teacher.pth')
    with pytest.raises(ValueError, match=message):
        make(tmp_path / 'out.py', SMALL, LARGE, tmp_path / 'teacher.pth')
    assert not (tmp_path / 'out.py').exists()


def test_other_number(make, own_project, tmp_path):
    cfg = Config.fromfile(LARGE)
    cfg.model.bbox_head.num_classes = 80
    cfg.dump(tmp_path / 'coco.py')
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()), tmp_path / 'coco.pth')
    args = SMALL, tmp_path / 'coco.py', tmp_path / 'coco.pth'
    with pytest.raises(
            ValueError, match='heads have 3 classes, the teacher\'s 80'):
        make(tmp_path / 'out.py', *args)
    made = make(tmp_path / 'out.py', *args, '--other-classes')
    assert 'inherit' not in made.model
    assert made.train_cfg.evaluate_teacher is False


def test_what_is_missing(make, own_project, tmp_path):
    out = tmp_path / 'out.py'
    for args, message in (
            (('no.py', LARGE, TEACHER), "config 'no.py' is not there"),
            ((SMALL, 'no.py', TEACHER), "teacher.cfg='no.py' is no file"),
            ((SMALL, LARGE, 'no.pth'), "checkpoint 'no.pth' is not there")):
        with pytest.raises(FileNotFoundError, match=message):
            make(out, *args)
    cfg = Config.fromfile(SMALL)
    endless = copy.deepcopy(cfg)
    endless.train_cfg = dict(type='MyTrainLoop')
    endless.dump(tmp_path / 'endless.py')
    part = copy.deepcopy(cfg)
    part.pop('optim_wrapper')
    part.dump(tmp_path / 'part.py')
    distilled = copy.deepcopy(cfg)
    distilled.model = dict(
        type='StageByStageDistiller', student=cfg.model, teacher={})
    distilled.dump(tmp_path / 'distilled.py')
    for student, message in (('endless', 'does not say how long it trains'),
                             ('part', 'has no optim_wrapper'),
                             ('distilled', 'already a distillation')):
        with pytest.raises(ValueError, match=message):
            make(out, tmp_path / f'{student}.py', LARGE, TEACHER)
    assert not out.exists()


def test_a_dry_run_that_fails(make, own_project, tmp_path, capsys):
    """The config stays, to be mended."""
    levels = dict(
        fine=(dict(end_level=1, num_outs=2), [4, 8]),
        coarse=(dict(start_level=2, num_outs=1), [16]))
    for name, (neck, strides) in levels.items():
        cfg = Config.fromfile(SMALL)
        cfg.model.neck.update(neck)
        cfg.model.bbox_head.anchor_generator.strides = strides
        cfg.dump(tmp_path / f'{name}.py')
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()), tmp_path / 'one.pth')
    with pytest.raises(ValueError, match=r'\[4, 8\], the teacher \[16\]'):
        make(tmp_path / 'out.py', tmp_path / 'fine.py',
             tmp_path / 'coarse.py', tmp_path / 'one.pth')
    assert 'out.py is written, but its dry run fails' in (
        capsys.readouterr().err)
    assert (tmp_path / 'out.py').exists()
