# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp

import numpy as np
import pytest
from mmengine.registry import DATASETS


def build(tmp_path, text):
    file = tmp_path / 'pairs.txt'
    file.write_text(text)
    return DATASETS.build(
        dict(
            type='FacePairs',
            ann_file=str(file),
            data_prefix=dict(img_path='faces')))


def pairs(dataset):
    first, second, same = dataset.metainfo['pairs']
    paths = [osp.relpath(dataset[i]['img_path'], 'faces')
             for i in range(len(dataset))]
    assert isinstance(first, np.ndarray) and same.dtype == bool
    return [(paths[a], paths[b], bool(s))
            for a, b, s in zip(first, second, same)]


def test_paths_and_label(tmp_path):
    dataset = build(tmp_path, 'a/1.jpg b/7.jpg 0\n\na/1.jpg a/2.jpg 1\n')
    assert pairs(dataset) == [('a/1.jpg', 'b/7.jpg', False),
                              ('a/1.jpg', 'a/2.jpg', True)]
    assert len(dataset) == 3, 'an image comes once'


def test_paths_with_spaces(tmp_path):
    dataset = build(tmp_path, 'a b/1.jpg\tc d.jpg\t1\n')
    assert pairs(dataset) == [('a b/1.jpg', 'c d.jpg', True)]


def test_form_of_lfw(tmp_path):
    dataset = build(
        tmp_path, '10\t300\n'
        'Abel_Pacheco\t1\t4\n'
        'Abdel_Madi_Shabneh\t1\tDean_Barker\t12\n')
    assert pairs(dataset) == [
        ('Abel_Pacheco/Abel_Pacheco_0001.jpg',
         'Abel_Pacheco/Abel_Pacheco_0004.jpg', True),
        ('Abdel_Madi_Shabneh/Abdel_Madi_Shabneh_0001.jpg',
         'Dean_Barker/Dean_Barker_0012.jpg', False)
    ]


@pytest.mark.parametrize('line', [
    'a.jpg b.jpg', 'a.jpg b.jpg 2', 'a.jpg b.jpg 1 more', 'Name 1 Other x'
])
def test_line_of_another_form(tmp_path, line):
    with pytest.raises(ValueError, match=r"pairs.txt', line 2: .* no pair"):
        build(tmp_path, f'a.jpg b.jpg 1\n{line}\n')


@pytest.mark.parametrize('text', ['', '10 300\n'])
def test_no_pairs(tmp_path, text):
    with pytest.raises(ValueError, match='holds no pairs'):
        build(tmp_path, text)
