# Copyright (c) sskd_mm authors. All rights reserved.
import json

import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmpretrain.datasets import CustomDataset, MultiLabelDataset

from sskd_mm.datasets import SeededDataset, check_labels

CLASSES = ('cat', 'dog', 'bird')


@pytest.fixture
def listed(tmp_path):

    def make(*labels, metainfo=dict(classes=CLASSES)):
        path = tmp_path / f'{len(list(tmp_path.iterdir()))}.txt'
        path.write_text('\n'.join(f'{i}.jpg {label}'
                                  for i, label in enumerate(labels)))
        return CustomDataset(
            data_root=str(tmp_path),
            ann_file=str(path),
            metainfo=metainfo)

    return make


@pytest.mark.parametrize('labels, message', [
    ((1, 2, 3), r'label 3 for .*2\.jpg, .* of 3 classes go from 0 to 2'),
    ((0, 2, -1, 1), r'label -1 for .*2\.jpg'),
])
@pytest.mark.parametrize('wrap', [
    lambda x: x, lambda x: RepeatDataset(x, times=2),
    lambda x: ConcatDataset([x, x])
])
def test_labels_beyond_the_classes(listed, labels, message, wrap):
    with pytest.raises(ValueError, match=f'val_dataloader: .*{message}'):
        check_labels(wrap(listed(*labels)), 'val_dataloader')


def test_a_later_set_of_several(listed):
    with pytest.raises(ValueError, match='label 3'):
        check_labels(
            ConcatDataset([listed(0, 1), listed(1, 3)]), 'train_dataloader')


def test_labels_that_fit(listed):
    check_labels(listed(2, 0, 0), 'train_dataloader')


@pytest.mark.parametrize('wrap', [
    lambda x: x, lambda x: SeededDataset(RepeatDataset(x, times=2), 0),
    lambda x: ConcatDataset([x, x])
])
def test_a_list_without_classes(listed, wrap):
    """Of faces, as make_face_lists.py writes it."""
    dataset = wrap(listed(0, 21, 4, metainfo=None))
    heads = {'head': 20, 'second_head': 22}
    with pytest.raises(ValueError) as error:
        check_labels(dataset, 'train_dataloader', heads=heads)
    assert ('labels up to 21, which makes 22 classes, but head.num_classes '
            'is 20. Set it to 22') in str(error.value)
    check_labels(dataset, 'train_dataloader', heads=dict(head=22))
    check_labels(dataset, 'train_dataloader', True, heads)
    check_labels(dataset, 'train_dataloader')


def test_a_list_without_labels(tmp_path):
    (tmp_path / 'list.txt').write_text('0.jpg\n1.jpg')
    dataset = CustomDataset(
        data_root=str(tmp_path), ann_file='list.txt', with_label=False)
    check_labels(dataset, 'train_dataloader', heads=dict(head=1))


def test_accepted(listed):
    check_labels(listed(1, 3), 'train_dataloader', True)


@pytest.mark.parametrize('label, fits', [([0, 2], True), ([], True),
                                         ([1, 3], False)])
def test_several_labels(tmp_path, label, fits):
    path = tmp_path / 'labels.json'
    path.write_text(
        json.dumps(
            dict(
                metainfo=dict(classes=CLASSES),
                data_list=[
                    dict(img_path='0.jpg', gt_label=[1]),
                    dict(img_path='1.jpg', gt_label=label)
                ])))
    dataset = MultiLabelDataset(ann_file=str(path), pipeline=[])
    if fits:
        check_labels(dataset, 'train_dataloader')
    else:
        with pytest.raises(ValueError, match=r'label \[1, 3\]'):
            check_labels(dataset, 'train_dataloader')


def test_no_image_is_loaded(listed, monkeypatch):
    dataset = listed(0, 1, 2)
    read = []

    def get_data_info(idx):
        read.append(idx)
        return dict(img=torch.zeros(1), gt_label=7)

    monkeypatch.setattr(dataset, 'get_data_info', get_data_info)
    check_labels(dataset, 'train_dataloader')
    assert read == [0]
