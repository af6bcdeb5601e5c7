# Copyright (c) sskd_mm authors. All rights reserved.
import json

import pytest
from annotated import coco_cfg, write_coco
from mmdet.evaluation import CocoMetric
from mmengine.registry import DATASETS

from sskd_mm.datasets import check_val_images


@pytest.fixture
def make(tmp_path, in_mmdet):
    """Returns a function that makes a validation set of four images, and a
    metric whose file has been changed."""

    def make(change=lambda content: None, **options):
        path = write_coco(tmp_path / 'val.json', 'ab', [0, 1, 0, 1])
        content = json.loads((tmp_path / 'val.json').read_text())
        change(content)
        (tmp_path / 'metric.json').write_text(json.dumps(content))
        val = DATASETS.build(
            coco_cfg(path, ('a', 'b'), test_mode=True, **options))
        return val, [CocoMetric(ann_file=str(tmp_path / 'metric.json'))]

    return make


def drop_last(content):
    content['images'].pop()


def rename(content):
    content['images'][2]['file_name'] = 'other/cat.jpg'


def text_ids(content):
    for image in content['images']:
        image['id'] = str(image['id'])


@pytest.mark.parametrize('change, message', [
    (drop_last, r'has no image with id 3, which is .*3\.jpg'),
    (rename, r'has the image other/cat\.jpg under id 2, which is .*2\.jpg'),
    (text_ids, r"has no image with id 0, .* its first id is '0'"),
])
def test_other_images(make, change, message):
    with pytest.raises(ValueError, match='val_evaluator: ann_file of '
                       f'CocoMetric {message}.*Give val_evaluator the ann_f'):
        check_val_images(*make(change))


def other_folder(content):
    for image in content['images']:
        image['file_name'] = 'val/' + image['file_name'].replace('jpg', 'png')


@pytest.mark.parametrize('change', [lambda content: None, other_folder])
def test_same_images(make, change, logged):
    check_val_images(*make(change))
    assert 'val_evaluator' not in logged.text


def test_more_images(make, logged):
    """As with `indices`, for a quick look."""
    val, metrics = make(indices=3)
    check_val_images(val, metrics)
    assert 'lists 1 images that are not in val_dataloader' in logged.text
    check_val_images(val, [CocoMetric()])
