# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import json

import pytest
import torch
from mmengine.config import Config

from sskd_mm.models import build_model

SMALL, LARGE = 'configs/digits/small.py', 'configs/digits/large.py'
TEACHER = 'checkpoints/large.pth'


def recipe(root, name):
    """What ships, whatever it is today."""
    return Config.fromfile(root / f'configs/_base_/{name}.py').sskd


def test_detector(make, own_project, root, capsys):
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
    # 12 epochs from scratch, as the recipe has.
    shipped = recipe(root, 'sskd_detection').train_cfg
    assert cfg.train_cfg == dict(shipped, val_interval=3)
    # Two iterations an epoch: the recipe's warm-up of 500 is longer than all
    # phases, but each reaches its learning rate.
    assert 'param_scheduler' not in cfg
    rates = [
        [cell.strip() for cell in line.split('\u2502')[1:-1]]
        for line in printed.partition('Learning rates')[2].splitlines()
        if '\u2502' in line
    ]
    assert [row[2:] for row in rates if row[0]] == [
        ['1e-05', '0.005', '0.000245'],
        ['1e-05', '0.00175', '0.00175'],
        ['1e-05', '0.0035', '0.000119'],
    ]
    assert 'warm-up cut from 500 to 2' in ' '.join(row[1] for row in rates)
    # From elsewhere, too.
    assert (own_project / TEACHER).samefile(cfg.model.teacher.checkpoint)
    assert (own_project / LARGE).samefile(cfg.model.teacher.cfg)
    with pytest.raises(FileExistsError, match='is there already'):
        make(out, SMALL, LARGE, TEACHER)


def test_classifier(make, classifiers, root):
    cfg = make(classifiers / 'out.py', classifiers / 'small.py',
               classifiers / 'large.py', classifiers / 'large.pth')
    shipped = recipe(root, 'sskd_cifar')
    assert cfg.model.stages == shipped.model.stages
    assert cfg.model.student.backbone.frozen_stages == -1
    # 64 channels do not fit 256, so there is nothing to inherit.
    assert 'inherit' not in cfg.model
    assert cfg.train_cfg.phases['mimic/last'].max_epochs == 6
    assert cfg.train_cfg.head.cached_passes == 2


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


def test_faces(make, classifier_cfg, root, tmp_path):
    """Without labels: a student that has no class centres."""
    for name, depth in (('small', 18), ('large', 34)):
        backbone = dict(
            type='IResNet', depth=depth, embedding=16, input_size=32)
        cfg = classifier_cfg(tmp_path / 'run', backbone, 16, neck=None)
        cfg.model.head.type = 'ArcFaceHead'
        if name == 'small':
            cfg.model.head = dict(type='EmbeddingHead')
            cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        cfg.dump(tmp_path / f'{name}.py')
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()), tmp_path / 'large.pth')
    cfg = make(tmp_path / 'out.py', tmp_path / 'small.py',
               tmp_path / 'large.py', tmp_path / 'large.pth')
    assert cfg.model.stages == recipe(root, 'sskd_face').model.stages
    assert 'inherit' not in cfg.model
    assert cfg.train_cfg.head.max_epochs == 0


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
            ((SMALL, 'no.py', TEACHER), "teacher.cfg='no.py' does not exist"),
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
