# Copyright (c) sskd_mm authors. All rights reserved.
import sys

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.analysis import dry_run


@pytest.fixture
def cfg(distill_cfg, tmp_path):
    return distill_cfg(tmp_path, **{'model.stages': ['backbone.layer1']})


@pytest.fixture(autouse=True)
def no_plan(monkeypatch):
    """What is to be seen here comes before it, and counting takes time."""
    monkeypatch.setattr(sys.modules[dry_run.__module__], 'describe_plan', id)


@pytest.fixture
def weights(cfg):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model.student).state_dict()


def save(path, weights):
    torch.save(dict(state_dict=weights), path)
    return str(path)


def test_a_file_that_is_missing(cfg, tmp_path):
    cfg.load_from = str(tmp_path / 'no.pth')
    cfg.model.student.neck.init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'neither.pth'))
    with pytest.raises(FileNotFoundError) as error:
        dry_run(cfg)
    assert f'load_from: {tmp_path}/no.pth' in str(error.value)
    assert 'model.student.neck.init_cfg.checkpoint: ' in str(error.value)


def test_load_from_with_other_classes(cfg, weights, tmp_path, capfd):
    cfg.load_from = save(
        tmp_path / 'x.pth', {
            k: torch.cat([v, v]) if '.fc_' in k else v
            for k, v in weights.items()
        })
    assert dry_run(cfg)
    assert 'roi_head.bbox_head.fc_cls.weight (11, ' in capfd.readouterr().out
    cfg.resume = True
    with pytest.raises(ValueError, match=r'Another shape \(4\): roi_head'):
        dry_run(cfg)


def test_load_from_of_another_network(cfg, weights, tmp_path):
    cfg.load_from = save(tmp_path / 'x.pth', {
        k: v for k, v in weights.items() if 'layer4.1' not in k})
    with pytest.raises(ValueError, match='file has other layers of the kind'):
        dry_run(cfg)


def test_init_cfg_of_another_network(cfg, weights, tmp_path):
    cfg.model.student.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=save(tmp_path / 'x.pth', weights))
    with pytest.raises(ValueError, match='does not fit student.backbone'):
        dry_run(cfg)
    cfg.model.student.backbone.init_cfg.prefix = 'backbone.'
    assert dry_run(cfg)
