# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from mmengine.config import Config

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
