# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from mmengine.config import Config
from mmengine.hub import get_config

from sskd_mm.datasets import check_data_files


def test_names_every_missing_path(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(root / 'configs/sskd/faster_rcnn_r18_coco.py')
    with pytest.raises(FileNotFoundError) as error:
        check_data_files(cfg)
    for path in ('annotations/instances_train2017.json', 'train2017',
                 'annotations/instances_val2017.json', 'val2017'):
        assert f'{tmp_path}/data/coco/{path}' in str(error.value)
    assert 'data_root=' in str(error.value)


def test_nothing_missing(distill_cfg, tmp_path):
    check_data_files(distill_cfg(tmp_path))


def test_a_loader_that_is_not_built(distill_cfg, tmp_path, logged):
    """Of a base config, and still where that has it."""
    cfg = distill_cfg(tmp_path)
    cfg.test_dataloader.dataset.data_root = 'data/coco/'
    cfg.test_evaluator.ann_file = 'data/coco/none.json'
    check_data_files(cfg)
    assert 'test_dataloader is not built here' in logged.text
    assert 'data/coco/none.json' in logged.text
    assert 'test_evaluator = val_evaluator' in logged.text
    with pytest.raises(FileNotFoundError, match='test_dataloader:\n.*coco'
                       ) as error:
        check_data_files(cfg, built=['test_dataloader'])
    assert ('--cfg-options test_dataloader.dataset.data_root=PATH/ '
            'test_evaluator.ann_file=PATH/FILE.json. ') in str(error.value)


def test_to_test_needs_no_training_data(distill_cfg, tmp_path, logged):
    cfg = distill_cfg(tmp_path)
    for key in ('train_dataloader', 'val_dataloader'):
        cfg[key].dataset.data_root = '/nowhere/'
    check_data_files(cfg, built=['test_dataloader'])
    assert 'train_dataloader is not built here' in logged.text
    with pytest.raises(FileNotFoundError) as error:
        check_data_files(cfg)
    assert 'train_dataloader:\n  /nowhere/annotations' in str(error.value)
    assert ('--cfg-options train_dataloader.dataset.data_root=PATH/ '
            'val_dataloader.dataset.data_root=PATH/ '
            'val_evaluator.ann_file=PATH/FILE.json. ') in str(error.value)


def test_all_keys_of_a_base_are_named(root, tmp_path, monkeypatch):
    """With those of the test set, which is read when all is trained."""
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_1x_coco.py')
    with pytest.raises(FileNotFoundError) as error:
        check_data_files(cfg)
    assert ('train_dataloader.dataset.data_root=PATH/ '
            'val_dataloader.dataset.data_root=PATH/ '
            'test_dataloader.dataset.data_root=PATH/ '
            'val_evaluator.ann_file=PATH/FILE.json '
            'test_evaluator.ann_file=PATH/FILE.json. ') in str(error.value)
    # A classifier's metrics open no file.
    cfg.val_evaluator = cfg.test_evaluator = dict(type='Accuracy')
    with pytest.raises(FileNotFoundError) as error:
        check_data_files(cfg)
    assert 'evaluator' not in str(error.value)


@pytest.mark.parametrize('wrap', [
    lambda x: x, lambda x: [dict(type='VOCMetric'), x],
    lambda x: dict(type='MultiDatasetsEvaluator', metrics=[x])
])
def test_file_of_an_evaluator(wrap, distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    metric = dict(cfg.val_evaluator)
    cfg.val_evaluator = wrap(metric)
    check_data_files(cfg)
    cfg.val_evaluator = wrap(dict(metric, ann_file='/nowhere/val.json'))
    with pytest.raises(FileNotFoundError, match='r:\n  /nowhere/val.json\n'):
        check_data_files(cfg)


def test_home(tmp_path, monkeypatch):
    """As mmpretrain reads a path."""
    monkeypatch.setenv('HOME', str(tmp_path))
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(type='CustomDataset', data_prefix='~/photos'))))
    with pytest.raises(FileNotFoundError, match=f'{tmp_path}/photos'):
        check_data_files(cfg)
    (tmp_path / 'photos').mkdir()
    check_data_files(cfg)


@pytest.mark.parametrize('name, paths', [
    ('voc0712', [
        'VOCdevkit/VOC2007', 'VOCdevkit/VOC2012',
        'VOCdevkit/VOC2007/ImageSets/Main/trainval.txt',
        'VOCdevkit/VOC2012/ImageSets/Main/trainval.txt',
        'VOCdevkit/VOC2007/ImageSets/Main/test.txt'
    ]),
    ('lvis_v1_instance', [
        'lvis_v1/annotations/lvis_v1_train.json',
        'lvis_v1/annotations/lvis_v1_val.json'
    ]),
    ('objects365v2_detection', [
        'Objects365/Obj365_v2/annotations/zhiyuan_objv2_train.json',
        'Objects365/Obj365_v2/annotations/zhiyuan_objv2_val.json',
        'Objects365/Obj365_v2/train', 'Objects365/Obj365_v2/val'
    ]),
    ('coco_instance',
     ['coco/annotations/instances_train2017.json', 'coco/train2017']),
])
def test_mmdet_s_data_configs(name, paths, tmp_path, monkeypatch):
    cfg = get_config(f'mmdet::_base_/datasets/{name}.py')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        check_data_files(cfg)
    lines = [line.strip() for line in str(error.value).splitlines()]
    for path in paths:
        assert f'{tmp_path}/data/{path}' in [x.rstrip('/') for x in lines]
        target = tmp_path / 'data' / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch() if target.suffix else target.mkdir(exist_ok=True)
    if name != 'coco_instance':
        check_data_files(cfg)


def test_wrappers_and_remote_storage(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    dataset = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dataset)
    check_data_files(cfg)
    dataset.data_root = 's3://bucket/'
    cfg.train_dataloader.dataset.dataset = dataset
    check_data_files(cfg)
    dataset.data_root = '/nowhere/'
    cfg.train_dataloader.dataset.dataset = dataset
    with pytest.raises(FileNotFoundError, match='/nowhere/train'):
        check_data_files(cfg)
