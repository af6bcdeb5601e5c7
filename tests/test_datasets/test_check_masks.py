# Copyright (c) sskd_mm authors. All rights reserved.
import json

import mmcv
import numpy as np
import pytest
from annotated import coco_cfg, write_coco
from mmengine.registry import DATASETS
from pycocotools import mask as mask_api

from sskd_mm.datasets import SeededDataset, check_masks

SQUARE = [[2, 2, 22, 2, 22, 22, 2, 22]]
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs')
]


def rle(height, width):
    return mask_api.frPyObjects([SQUARE[0]], height, width)[0]


def text(mask):
    return dict(mask, counts=mask['counts'].decode())


def numbers(height, width):
    """An uncompressed RLE of nothing."""
    return dict(counts=[height * width], size=[height, width])


@pytest.fixture
def build(tmp_path, in_mmdet):
    """Returns a function that builds a set of three images of 48 x 64, the
    masks of whose objects are given."""

    def make(*masks, pipeline=LOAD, height=48, **wrapper):
        path = write_coco(tmp_path / 'a.json', 'ab', [0] * len(masks))
        content = json.loads((tmp_path / 'a.json').read_text())
        for i, mask in enumerate(masks):
            mmcv.imwrite(
                np.zeros((48, 64, 3), 'u1'), str(tmp_path / f'{i}.jpg'))
            content['images'][i]['height'] = height
            content['annotations'][i]['segmentation'] = mask
        (tmp_path / 'a.json').write_text(json.dumps(content))
        cfg = coco_cfg(path, ('a', 'b'), pipeline=pipeline)
        cfg['data_prefix'] = dict(img=str(tmp_path))
        if wrapper:
            cfg = dict(wrapper, dataset=cfg)
        dataset = DATASETS.build(cfg)
        dataset.full_init()
        return dataset

    return make


def loads(dataset):
    try:
        for i in range(len(dataset)):
            dataset[i]
    except Exception as error:
        print(repr(error))
        return False
    return True


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('mask', [text(rle(32, 40)), numbers(50, 64)])
def test_rle_of_another_size(build, mask, wrapped):
    wrapper = dict(type='RepeatDataset', times=2) if wrapped else {}
    dataset = build(SQUARE, text(rle(48, 64)), mask, **wrapper)
    assert not loads(dataset)
    # As the engine has it, with annotations on demand.
    with pytest.raises(ValueError) as error:
        check_masks(SeededDataset(dataset, 0))
    message = str(error.value)
    assert message.startswith('train_dataloader: the RLE of an object in ')
    assert '2.jpg, an image of CocoDataset of ' in message
    assert (f'size {mask["size"]}, but the image [48, 64] (height, width)'
            in message)


def test_height_and_width_exchanged(build):
    """mmdet loads it without a word, and it is another mask."""
    dataset = build(text(rle(64, 48)))
    assert loads(dataset)
    with pytest.raises(ValueError, match=r'size \[64, 48\]'):
        check_masks(dataset, 'val_dataloader')


def test_the_image_decides(build):
    """Where the file is wrong about its height, mmdet does not care."""
    dataset = build(text(rle(48, 64)), SQUARE, height=40)
    assert loads(dataset)
    check_masks(dataset)


def test_no_segmentation(build):
    dataset = build(SQUARE, None)
    assert not loads(dataset)
    with pytest.raises(ValueError, match='1.jpg.* no `segmentation`'):
        check_masks(dataset)


def test_what_mmdet_passes_over(build):
    """Polygons of two corners, an RLE without counts; and all of it where
    masks are not loaded."""
    dataset = build([[0, 0, 5, 5]], dict(size=[3, 3]), SQUARE)
    assert loads(dataset)
    check_masks(dataset)
    boxes = [LOAD[0], dict(type='LoadAnnotations', with_bbox=True), LOAD[2]]
    dataset = build(text(rle(32, 40)), None, pipeline=boxes)
    assert loads(dataset)
    check_masks(dataset)
