# Copyright (c) sskd_mm authors. All rights reserved.
import json

import pytest
from annotated import coco_cfg, voc_cfg, write_coco, write_voc
from mmdet.datasets import CocoDataset, VOCDataset
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from sskd_mm.datasets import build_dataset, check_annotations
from sskd_mm.datasets.coco_classes import read_coco_classes

CELLS = ('Platelets', 'RBC', 'WBC')


def config(train=None, val=None):
    loaders = dict(train_dataloader=train, val_dataloader=val)
    return Config({k: dict(dataset=v) for k, v in loaders.items() if v})


def wrapped(dataset):
    return dict(
        type='MultiImageMixDataset',
        pipeline=[],
        dataset=dict(
            type='ConcatDataset',
            datasets=[
                dict(type='RepeatDataset', times=2, dataset=dataset),
                dict(
                    type='ClassBalancedDataset',
                    oversample_thr=0.1,
                    dataset=dataset)
            ]))


@pytest.fixture(params=['plain', 'class', 'dumped', 'scoped', 'wrapped'])
def style(request):
    """A config as users write it."""

    def restyle(dataset):
        if request.param == 'class':
            kind = dict(CocoDataset=CocoDataset, VOCDataset=VOCDataset)
            return dict(dataset, type=kind[dataset['type']])
        if request.param == 'dumped':
            file = dataset['type'].lower().replace('dataset', '')
            return dict(
                dataset, type=f'mmdet.datasets.{file}.{dataset["type"]}')
        if request.param == 'scoped':
            return dict(dataset, type=f'mmdet.{dataset["type"]}')
        if request.param == 'wrapped':
            return wrapped(dataset)
        return dataset

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield restyle


def test_names_in_lower_case(style, tmp_path):
    """Which leaves no image, so it ends in "need at least one array"."""
    path = write_coco(tmp_path / 'a.json', [x.lower() for x in CELLS],
                      [0, 1, 2])
    dataset = style(coco_cfg(path, CELLS))
    with pytest.raises(ValueError, match='need at least one array|no image'):
        DATASETS.build(dataset).full_init()
    with pytest.raises(ValueError) as error:
        check_annotations(config(dataset))
    message = str(error.value)
    assert message.startswith(f"train_dataloader: {path} has no category "
                              "'Platelets', 'RBC', 'WBC', but")
    assert "The file has: 'platelets', 'rbc', 'wbc'. Set train_d" in message
    assert 'train_cfg.accept_other_classes=True' in message


def test_metainfo_forgotten(style, tmp_path):
    """In validation, which plain mmdet builds without a word."""
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1, 2])
    with pytest.raises(ValueError) as error:
        check_annotations(
            config(
                style(coco_cfg(path, CELLS)),
                style(coco_cfg(path, test_mode=True))))
    message = str(error.value)
    assert message.startswith(f"val_dataloader: {path} has no category "
                              "'person', 'bicycle', 'car'")
    assert 'Set val_dataloader.dataset.metainfo=dict(classes' in message


def test_ids_as_strings(style, tmp_path):
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1, 2], str)
    with pytest.raises(
            ValueError, match="category_id '1', but .* ids 1, 2, 3.*quotes"):
        check_annotations(config(style(coco_cfg(path, CELLS))))


def test_ids_that_no_category_has(tmp_path, in_mmdet, logged):
    """All of them, counted from 0 or 100, or a few."""
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1, 2], lambda i: i + 99)
    with pytest.raises(ValueError, match='category_id 100, but'):
        check_annotations(config(coco_cfg(path, CELLS)))
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1, 2], lambda i: i - 1)
    check_annotations(config(coco_cfg(path, CELLS)))
    assert 'category_id 0, which no category has' in logged.text


def test_a_name_that_comes_twice(tmp_path, in_mmdet):
    """As a supercategory does in many an export. Its label is one too
    many."""
    path = write_coco(tmp_path / 'a.json', ['RBC', *CELLS], [1, 2, 3])
    dataset = DATASETS.build(coco_cfg(path, CELLS))
    labels = [x['bbox_label'] for i in range(3)
              for x in dataset.get_data_info(i)['instances']]
    assert max(labels) == 3
    with pytest.raises(ValueError, match="several categories 'RBC'"):
        check_annotations(config(coco_cfg(path, CELLS)))


@pytest.mark.parametrize('change, message', [
    (lambda x: x.pop('area'), "lack 'area'.*width of bbox times"),
    (lambda x: x.pop('bbox'), "lack 'bbox'"),
    (lambda x: [x.pop('area'), x.pop('category_id')],
     "lack 'area', 'category_id'"),
    # mmdet passes over it.
    (lambda x: x.update(ignore=True, area=x.pop('bbox')), None),
])
def test_a_field_is_missing(style, tmp_path, change, message):
    """Of a few annotations; mmdet ends with a bare KeyError."""
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1, 2])
    content = json.loads((tmp_path / 'a.json').read_text())
    change(content['annotations'][1])
    (tmp_path / 'a.json').write_text(json.dumps(content, indent=1))
    for key, cfg in (('train', config(style(coco_cfg(path, CELLS)))),
                     ('val', config(val=style(coco_cfg(path, CELLS))))):
        if message is None:
            check_annotations(cfg)
            continue
        with pytest.raises(KeyError):
            DATASETS.build(style(coco_cfg(path, CELLS))).full_init()
        with pytest.raises(ValueError, match=f'{key}_dataloader: .*{message}'):
            check_annotations(cfg)


def test_opt_out(tmp_path, in_mmdet, logged):
    path = write_coco(tmp_path / 'a.json', CELLS[1:], [0, 1])
    cfg = config(coco_cfg(path, CELLS))
    with pytest.raises(ValueError):
        check_annotations(cfg)
    check_annotations(cfg, accept_other_classes=True)
    assert "has no category 'Platelets'" in logged.text


def test_fewer_classes_than_the_file_has(style, tmp_path):
    """mmdet's way to train on some of them."""
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1, 2])
    folder = write_voc(tmp_path / 'voc', CELLS)
    cfg = config(style(coco_cfg(path, CELLS[1:])), style(
        voc_cfg(folder, CELLS[:2])))
    check_annotations(cfg)


def test_images_without_annotations(tmp_path, in_mmdet):
    """For mimicking alone."""
    path = write_coco(tmp_path / 'a.json', CELLS, [])
    check_annotations(config(coco_cfg(path, CELLS)))
    check_annotations(config())
    check_annotations(Config(dict(train_dataloader=None)))


@pytest.mark.parametrize('names, listed', [
    (('platelets', 'rbc', 'wbc'), "'platelets', 'rbc', 'wbc'"),
    (('Platelets', 'rbc ', 'WBC'), "'rbc '"),
])
def test_voc(style, names, listed, tmp_path):
    """Objects of another name are left out, one class or all."""
    cfg = config(
        style(voc_cfg(write_voc(tmp_path / 'train', CELLS), CELLS)),
        style(voc_cfg(write_voc(tmp_path / 'val', names), CELLS, 'val')))
    with pytest.raises(ValueError) as error:
        check_annotations(cfg)
    message = str(error.value)
    assert message.startswith('val_dataloader: no object in the XML files of')
    assert f'files have: {listed}. Set val_dataloader.dataset.m' in message


def test_voc_without_an_object_of_a_rare_class(tmp_path, in_mmdet):
    folder = write_voc(tmp_path, ('RBC', 'Dust'))
    check_annotations(config(voc_cfg(folder, CELLS)))


def test_several_labels_an_image(tmp_path):
    """mmpretrain's VOC, which never has fewer images, but no label."""
    cfg = dict(
        type='VOC',
        data_root=write_voc(tmp_path, ('cat', 'dog')),
        split='trainval',
        metainfo=dict(classes=('Cat', 'Dog')))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(dict(cfg, pipeline=[]))
        assert dataset.get_data_info(0)['gt_label'] == []
        with pytest.raises(ValueError, match="called 'Cat', 'Dog', a "):
            check_annotations(config(cfg))
        cfg['metainfo']['classes'] = ('cat', 'dog')
        check_annotations(config(cfg))


def test_reads_the_categories_alone(tmp_path):
    """Wherever they lie in the file, beside words like them."""
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 2])
    content = json.loads((tmp_path / 'a.json').read_text())
    assert read_coco_classes(path) == (list(CELLS), [1, 2, 3], [1, 3], [])
    first = dict(categories=content.pop('categories'), other=dict(
        categories=['x']))
    (tmp_path / 'b.json').write_text(
        json.dumps({**first, **content}, indent=1))
    assert read_coco_classes(tmp_path / 'b.json') == read_coco_classes(path)
    (tmp_path / 'c.json').write_text('{"images": []}')
    assert read_coco_classes(tmp_path / 'c.json') is None


def test_nothing_is_left(tmp_path, in_mmdet):
    """For another reason than a name."""
    path = write_coco(tmp_path / 'a.json', CELLS, [0, 1])
    cfg = coco_cfg(path, CELLS)
    assert len(build_dataset(cfg)) == 2
    cfg['filter_cfg']['min_size'] = 100
    with pytest.raises(ValueError, match='train_dataloader.dataset has no'):
        build_dataset(cfg)
    path = write_coco(tmp_path / 'b.json', CELLS, [])
    with pytest.raises(ValueError, match='list none'):
        build_dataset(coco_cfg(path, CELLS, serialize_data=False), 'x')
    with pytest.raises(TypeError):
        build_dataset(dict(type='CocoDataset', nothing=1))
