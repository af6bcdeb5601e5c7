# Copyright (c) sskd_mm authors. All rights reserved.
import mmcv.transforms
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from sskd_mm.datasets import AlignFace, CropFace
from sskd_mm.evaluation import face_pipeline

PACK = dict(type='PackInputs')
LOAD = dict(type='LoadImageFromFile')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def config(*pipeline, key='test_dataloader', **backbone):
    dataset = dict(type='CustomDataset', pipeline=[*pipeline])
    return Config({
        key: dict(dataset=dataset),
        'model': dict(backbone=backbone)
    })


@pytest.mark.parametrize('align', [
    dict(type='AlignFace', size=64),
    dict(type=AlignFace, size=64),
    dict(type='mmpretrain.AlignFace', size=64),
    dict(type='sskd_mm.datasets.transforms.align_face.AlignFace', size=64),
    dict(type='CropFace', size=64),
    dict(type=CropFace, size=64),
])
@pytest.mark.parametrize('load', [
    LOAD, dict(type='mmpretrain.LoadImageFromFile'),
    dict(type=mmcv.transforms.LoadImageFromFile),
    dict(type='mmcv.transforms.LoadImageFromFile', imdecode_backend='pillow')
])
def test_sizes_and_loading_are_the_config_s(align, load):
    cfg = config(load, align, PACK)
    for cut in ('AlignFace', 'CropFace'):
        assert face_pipeline(cfg, cut=cut) == [
            load, dict(type=cut, size=64), PACK]
    resize = dict(type='Resize', scale=(64, 64))
    assert face_pipeline(cfg) == [load, resize, PACK]
    assert face_pipeline(cfg, decoded=True) == [resize, PACK]


def test_size_of_a_cut_that_says_none():
    cfg = config(LOAD, dict(type='AlignFace'), PACK)
    assert face_pipeline(cfg, cut='CropFace')[1] == dict(
        type='CropFace', size=112)


@pytest.mark.parametrize('steps, backbone, size', [
    ([PACK], {}, 112),
    ([PACK], dict(input_size=64), 64),
    ([dict(type='ResizeEdge', scale=64),
      dict(type='CenterCrop', crop_size=64), PACK], dict(input_size=64), 112),
    ([dict(type='RandomFlip', prob=0.), PACK], dict(input_size=96), 96),
])
def test_config_that_does_not_cut(steps, backbone, size):
    for load in ([], [LOAD]):
        cfg = config(*load, *steps, **backbone)
        assert face_pipeline(cfg, cut='AlignFace') == [
            LOAD, dict(type='AlignFace', size=size), *steps]
        assert face_pipeline(cfg) == [LOAD, *steps]
        assert face_pipeline(cfg, decoded=True) == steps


@pytest.mark.parametrize('wrap', [
    lambda x: dict(type='RepeatDataset', dataset=x, times=2),
    lambda x: dict(type='ConcatDataset', datasets=[x, dict(pipeline=[])]),
    lambda x: dict(
        type='RepeatDataset',
        dataset=dict(type='ConcatDataset', datasets=[x])),
])
@pytest.mark.parametrize('key', ['test_dataloader', 'val_dataloader'])
def test_data_sets_in_wrappers(wrap, key):
    resize = dict(type='Resize', scale=(16, 16))
    cfg = config(LOAD, resize, PACK, key=key)
    cfg[key].dataset = wrap(cfg[key].dataset)
    assert face_pipeline(cfg, decoded=True) == [resize, PACK]


def test_config_without_images():
    assert face_pipeline(Config(dict(model=dict()))) == [LOAD, PACK]
    assert face_pipeline(Config(dict(model=dict())), decoded=True) == [PACK]
