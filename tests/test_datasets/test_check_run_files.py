# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from mmengine.config import Config
from mmengine.model import PretrainedInit

from sskd_mm.datasets import check_run_files


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('teacher.py', 'teacher.pth', 'val.json', 'r18.pth'):
        (tmp_path / name).touch()
    return Config(
        dict(
            load_from=None,
            model=dict(
                student=dict(
                    backbone=dict(
                        init_cfg=dict(
                            type='Pretrained', checkpoint='r18.pth')),
                    roi_head=dict(bbox_head=[dict(type='A'), dict(type='B')])),
                teacher=dict(cfg='teacher.py', checkpoint='teacher.pth')),
            val_evaluator=dict(type='CocoMetric', ann_file='val.json')))


def test_all_there(cfg):
    check_run_files(cfg)
    check_run_files(Config(dict()))
    check_run_files(Config(dict(model=dict(type='A'), val_evaluator=None)))


def pretrained(kind):
    return dict(type=kind, checkpoint='no.pth')


@pytest.mark.parametrize('key, value, named', [
    ('load_from', 'no.pth', 'load_from'),
    ('load_from', '~/no.pth', 'load_from'),
    ('model.teacher.cfg', 'no.pth', 'model.teacher.cfg'),
    ('model.teacher.checkpoint', 'no.pth', 'model.teacher.checkpoint'),
    ('model.teacher', [
        dict(cfg=dict(type='A'), checkpoint='teacher.pth'),
        dict(cfg='mmdet::a.py', checkpoint='no.pth')
    ], 'model.teacher.1.checkpoint'),
    ('model.student.init_cfg', pretrained('Pretrained'),
     'model.student.init_cfg.checkpoint'),
    ('model.student.init_cfg', [dict(type='Xavier'), pretrained('Pretrained')],
     'model.student.init_cfg.1.checkpoint'),
    ('model.student.roi_head.bbox_head.1.init_cfg',
     pretrained(PretrainedInit),
     'model.student.roi_head.bbox_head.1.init_cfg.checkpoint'),
    ('model.student.neck',
     dict(init_cfg=pretrained('mmengine.model.weight_init.PretrainedInit')),
     'model.student.neck.init_cfg.checkpoint'),
    ('model', dict(backbone=dict(init_cfg=pretrained('mmdet.Pretrained'))),
     'model.backbone.init_cfg.checkpoint'),
    ('val_evaluator', [
        dict(type='A'), dict(type='mmdet.CocoMetric', ann_file='no.pth')
    ], 'val_evaluator.1.ann_file'),
    ('val_evaluator',
     dict(type='Evaluator', metrics=[dict(type='A', ann_file='no.pth')]),
     'val_evaluator.metrics.0.ann_file'),
])
def test_missing(cfg, tmp_path, key, value, named):
    *parts, last = key.split('.')
    place = cfg
    for part in parts:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    with pytest.raises(FileNotFoundError) as error:
        check_run_files(cfg)
    assert f'\n  {named}: /' in str(error.value)
    assert str(error.value).count('no.pth') == 1


def test_all_that_are_missing_are_named(cfg, tmp_path):
    cfg.load_from = 'a.pth'
    cfg.val_evaluator.ann_file = 'b.json'
    with pytest.raises(FileNotFoundError) as error:
        check_run_files(cfg)
    for name in ('a.pth', 'b.json'):
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize('options', [
    dict(load_from='https://x.y/z.pth'),
    dict(load_from='s3://x/z.pth'),
    {'model.teacher.cfg': 'mmdet::a.py'},
    {'model.student.backbone.init_cfg.checkpoint': 'torchvision://resnet18'},
    {'val_evaluator.ann_file': 'no.json',
     'val_evaluator.backend_args': dict(backend='petrel')},
    # Another key of that name, and the initialisation of a teacher, whose
    # weights come from its checkpoint.
    {'model.student.backbone.checkpoint': 'no.pth'},
    {'model.teacher': dict(
        _delete_=True, cfg=dict(init_cfg=pretrained('Pretrained')))},
    {'test_evaluator': dict(type='CocoMetric', ann_file='no.json')},
])  # yapf: disable
def test_not_looked_for(cfg, options):
    cfg.merge_from_dict(options)
    check_run_files(cfg)
