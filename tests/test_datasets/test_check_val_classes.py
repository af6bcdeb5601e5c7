# Copyright (c) sskd_mm authors. All rights reserved.
import json

import cv2
import numpy as np
import pytest
import torch
from annotated import coco_cfg, voc_cfg, write_coco, write_voc
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS, METRICS, DefaultScope

from sskd_mm.datasets import (SeededDataset, check_num_classes,
                              check_val_classes, reads_classes)

CELLS = ('Platelets', 'RBC', 'WBC')


def build(cfg, scope='mmdet'):
    with DefaultScope.overwrite_default_scope(scope):
        dataset = DATASETS.build(cfg)
        dataset.full_init()
        return dataset


@pytest.fixture
def folders(tmp_path):
    """A data set of mmpretrain with a folder for each class."""

    def make(split, *names, kind='CustomDataset', **options):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            cv2.imwrite(
                str(tmp_path / split / name / '0.png'), np.zeros((8, 8, 3)))
        return build(
            dict(
                type=kind,
                data_root=str(tmp_path),
                data_prefix=split,
                pipeline=[],
                **options), 'mmpretrain')

    return make


@pytest.fixture
def coco(tmp_path):

    def make(split, names, classes=CELLS):
        path = write_coco(tmp_path / f'{split}.json', names, [0, 1, 2])
        return build(coco_cfg(path, classes, test_mode=True))

    return make


def test_a_folder_of_another_name(folders):
    """Sorted, it moves those between: a teacher of 100 % has 60."""
    train, val = folders('train', 'ant', 'bee', 'cow', 'dog',
                         'emu'), folders('val', 'ant', 'bug', 'cow', 'dog',
                                         'zebra')
    with pytest.raises(ValueError) as error:
        check_val_classes(train, val)
    message = str(error.value)
    assert 'train_dataloader: CustomDataset of' in message
    assert "has 'ant', 'bee', 'cow', 'dog', 'emu'\n" in message
    assert "Label 1 is 'bee' in the first and 'bug' in the second" in message
    assert "Only in the first: 'bee', 'emu'." in message
    assert 'Use the same folder names; a class without images' in message
    assert 'train_cfg.accept_other_classes=True' in message


def test_a_folder_that_is_missing(folders):
    train = folders('train', 'ant', 'bee', 'cow')
    with pytest.raises(ValueError, match="Label 1 is 'bee' .* 'cow' in the"):
        check_val_classes(train, folders('val', 'ant', 'cow'))
    with pytest.raises(ValueError, match="Label 2 is 'cow' .* nothing in the"):
        check_val_classes(train, folders('last', 'ant', 'bee'))


def test_an_empty_folder_will_do(folders, tmp_path):
    """As the message says: mmpretrain numbers it."""
    train = folders('train', 'ant', 'bee', 'cow')
    (tmp_path / 'val' / 'bee').mkdir(parents=True)
    check_val_classes(train, folders('val', 'ant', 'cow'))


@pytest.mark.parametrize('wrap', [
    lambda x: SeededDataset(RepeatDataset(x, 2), 0),
    lambda x: ConcatDataset([x, x]),
])
def test_wrappers(folders, wrap):
    train, same = folders('train', 'ant', 'bee'), folders('val', 'ant', 'bee')
    other = folders('other', 'ant', 'Bee')
    check_val_classes(wrap(train), wrap(same))
    with pytest.raises(ValueError, match='Labels mean different classes'):
        check_val_classes(wrap(train), wrap(other))
    # The second of several.
    joined = ConcatDataset([same, other], ignore_keys='classes')
    with pytest.raises(ValueError, match='val_dataloader: .*other'):
        check_val_classes(train, joined)
    with pytest.raises(ValueError, match='train_dataloader: .*other'):
        check_val_classes(joined, train)


def test_folders_and_names_of_the_users_own(folders, logged):
    """ImageNet's folders are called otherwise than its classes, and a list
    has none."""
    names = dict(metainfo=dict(classes=('tench', 'goldfish')))
    train = folders('train', 'n01440764', 'n01443537', **names)
    check_val_classes(train, folders('val', 'n01440764', 'n01443537', **names))
    with pytest.raises(ValueError, match="'n01443537' .* 'n01530575'"):
        check_val_classes(
            train, folders('other', 'n01440764', 'n01530575', **names))
    assert 'numbers its classes' not in logged.text
    # Folders number classes in their order, not in that of metainfo.
    train = folders(
        'again', 'goldfish', 'tench', metainfo=names['metainfo'])
    check_val_classes(train, train)
    assert "numbers its classes 'goldfish', 'tench', regardless" in logged.text


def test_a_list_beside_folders(folders, tmp_path):
    train = folders('train', 'ant', 'bee')
    (tmp_path / 'val.txt').write_text('train/ant/0.png 1\n')
    listed = dict(
        type='CustomDataset',
        data_root=str(tmp_path),
        ann_file='val.txt',
        pipeline=[])
    check_val_classes(train, build(listed, 'mmpretrain'))
    listed['metainfo'] = dict(classes=('bee', 'ant'))
    with pytest.raises(ValueError, match="Label 0 is 'ant' .* 'bee' in the"):
        check_val_classes(train, build(listed, 'mmpretrain'))


@pytest.mark.parametrize('names', [
    ('RBC', 'Platelets', 'WBC'),
    ('Unused', 'WBC', 'RBC', 'Platelets'),
])
def test_order_in_a_coco_file(coco, names):
    """Its labels follow the file, whatever metainfo says."""
    train, val = coco('train', CELLS), coco('val', names)
    assert train.metainfo['classes'] == val.metainfo['classes']
    with pytest.raises(ValueError, match='Label 0 is .Platelets.') as error:
        check_val_classes(train, val)
    assert 'in the same order' in str(error.value)
    # Not where both files have it, in an order of their own.
    check_val_classes(coco('t', names), coco('v', names))


def test_other_order_in_metainfo_alone(coco, logged):
    train = coco('train', CELLS, CELLS[::-1])
    check_val_classes(train, coco('val', CELLS))
    assert "'Platelets', 'RBC', 'WBC', regardless of its" in logged.text


def test_metainfo_forgotten(coco):
    train = coco('train', CELLS)
    with pytest.raises(ValueError) as error:
        check_val_classes(train, coco('val', CELLS, None))
    assert 'has none' in str(error.value)
    assert ('Set val_dataloader.dataset.metainfo=dict(classes=(...)) to that '
            'of train_dataloader') in str(error.value)


def test_voc(tmp_path, coco):
    folder = write_voc(tmp_path, CELLS)

    def voc(classes):
        return build(voc_cfg(folder, classes, test_mode=True))

    check_val_classes(voc(CELLS), voc(CELLS))
    with pytest.raises(ValueError, match="Label 0 is 'Platelets' .* 'WBC'"):
        check_val_classes(voc(CELLS), voc(CELLS[::-1]))
    # Beside COCO's format, whose file counts.
    check_val_classes(coco('train', CELLS[::-1]), voc(CELLS[::-1]))
    with pytest.raises(ValueError, match="Label 0 is 'WBC' .* 'Platelets'"):
        check_val_classes(coco('train', CELLS[::-1]), voc(CELLS))


def test_several_labels_an_image(tmp_path):

    def labelled(split, *classes):
        (tmp_path / f'{split}.json').write_text(
            json.dumps(
                dict(
                    metainfo=dict(classes=classes),
                    data_list=[dict(img_path='0.png', gt_label=[0, 1])])))
        return build(
            dict(
                type='MultiLabelDataset',
                data_root=str(tmp_path),
                ann_file=f'{split}.json',
                pipeline=[]), 'mmpretrain')

    train = labelled('train', 'sun', 'sea')
    check_val_classes(train, labelled('val', 'sun', 'sea'))
    with pytest.raises(ValueError, match="Label 0 is 'sun' .* 'sea' in the"):
        check_val_classes(train, labelled('val', 'sea', 'sun'))


def test_evaluator_with_a_file_of_its_own(coco, tmp_path):
    train, val = coco('train', CELLS), coco('val', CELLS)
    metric = dict(type='mmdet.CocoMetric', ann_file=val.ann_file)
    check_val_classes(train, val, [METRICS.build(metric)])
    check_val_classes(train, val, [METRICS.build(dict(metric, ann_file=None))])
    metric['ann_file'] = write_coco(tmp_path / 'e.json', CELLS[::-1], [0])
    with pytest.raises(ValueError, match='val_evaluator: ann_file of Coco'):
        check_val_classes(train, val, [METRICS.build(metric)])


def test_other_people_in_a_face_set(folders):
    """Verification is of people that training has not seen; accuracy is
    not."""
    train, val = folders('train', 'ann', 'bob'), folders('val', 'cid', 'dee')
    faces = METRICS.build(dict(type='FaceVerification'))
    recall = METRICS.build(dict(type='mmpretrain.RetrievalRecall', topk=1))
    accuracy = METRICS.build(dict(type='mmpretrain.Accuracy'))
    check_val_classes(train, val, [faces])
    check_val_classes(train, val, [recall])
    assert not reads_classes([faces, recall])
    with pytest.raises(ValueError, match="'ann' in the first and 'cid'"):
        check_val_classes(train, val, [faces, accuracy])


def test_opt_out(folders, logged):
    train, val = folders('train', 'ant', 'bee'), folders('val', 'ant', 'cow')
    check_val_classes(train, val, accept_other_classes=True)
    assert "Label 1 is 'bee' in the first and 'cow'" in logged.text


def test_data_without_names(folders):

    class Unnamed:

        def __len__(self):
            return 3

    check_val_classes(Unnamed(), folders('val', 'ant', 'bee'))
    check_val_classes(folders('train', 'ant', 'bee'), Unnamed())


def test_mmdets_concat_of_unlike_sets(coco):
    """Its metainfo is a list."""
    joined = build(
        dict(
            type='ConcatDataset',
            datasets=[
                coco_cfg(coco('a', CELLS).ann_file, CELLS, test_mode=True),
                coco_cfg(
                    coco('b', CELLS[::-1]).ann_file, CELLS[::-1],
                    test_mode=True)
            ]))
    assert isinstance(joined.metainfo, list)
    with pytest.raises(ValueError, match='train_dataloader: .*b.json has'):
        check_val_classes(joined, coco('val', CELLS))
    check_num_classes(torch.nn.Linear(1, 1), joined)
