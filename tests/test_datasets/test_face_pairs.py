# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp

import numpy as np
import pytest
from mmengine.registry import DATASETS

pytestmark = pytest.mark.usefixtures('quick_garbage_collection')


def read(tmp_path, faces='faces'):
    return DATASETS.build(
        dict(
            type='FacePairs',
            ann_file=str(tmp_path / 'pairs.txt'),
            data_prefix=dict(img_path=faces)))


def build(tmp_path, text):
    (tmp_path / 'pairs.txt').write_text(text)
    return read(tmp_path)


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
    with pytest.raises(ValueError, match=r"pairs.txt', line 2: .* not a pair"):
        build(tmp_path, f'a.jpg b.jpg 1\n{line}\n')


@pytest.mark.parametrize('text', ['', '10 300\n'])
def test_no_pairs(tmp_path, text):
    with pytest.raises(ValueError, match='has no pairs'):
        build(tmp_path, text)


@pytest.mark.parametrize('line', [
    'a/1.jpg,b/7.jpg,0', 'a/1.jpg, b/7.jpg, 0', 'a/1.jpg , b/7.jpg ,0',
    '"a/1.jpg","b/7.jpg",0', 'a/1.jpg\tb/7.jpg\t0', ' a/1.jpg  b/7.jpg 0 ',
    'a/1.jpg,b/7.jpg,0,', 'a/1.jpg\t b/7.jpg\t 0\t'
])
def test_separators(tmp_path, line):
    expected = [('a/1.jpg', 'b/7.jpg', False)]
    for end in ('\n', '\r\n'):
        (tmp_path / 'pairs.txt').write_bytes((line + end).encode())
        assert pairs(read(tmp_path)) == expected
        # Behind the names of columns.
        (tmp_path / 'pairs.txt').write_bytes(
            f'first,second,same{end}{line}{end}'.encode())
        assert pairs(read(tmp_path)) == expected


def test_commas_in_paths(tmp_path):
    for line in ('Sammy_Davis,_Jr/1.jpg b/7.jpg 1',
                 'Sammy_Davis,_Jr/1.jpg\tb/7.jpg\t1',
                 '"Sammy_Davis,_Jr/1.jpg",b/7.jpg,1'):
        assert pairs(build(tmp_path, line)) == [
            ('Sammy_Davis,_Jr/1.jpg', 'b/7.jpg', True)]


@pytest.mark.parametrize('line', [
    'a.jpg, b.jpg 1', 'a.jpg; b.jpg; 1', 'a.jpg;b.jpg;1', 'a.jpg,,1',
    ',b.jpg,1', 'a.jpg, b.jpg', 'a.jpg\t\t1'
])
def test_line_of_two_separators(tmp_path, line):
    """Rather than a path with a comma at its end."""
    with pytest.raises(ValueError, match="line 1: .* not a pair.*tabs"):
        build(tmp_path, line)


def test_form_of_lfw_as_a_table(tmp_path):
    """As it is spread for pandas."""
    assert pairs(
        build(
            tmp_path, 'name,imagenum1,imagenum2,\nAbel_Pacheco,1,4,\n'
            'Abdel_Madi_Shabneh,1,Dean_Barker,12\n')) == [
                ('Abel_Pacheco/Abel_Pacheco_0001.jpg',
                 'Abel_Pacheco/Abel_Pacheco_0004.jpg', True),
                ('Abdel_Madi_Shabneh/Abdel_Madi_Shabneh_0001.jpg',
                 'Dean_Barker/Dean_Barker_0012.jpg', False)
            ]


@pytest.mark.parametrize('text', [
    'a/1.jpg b/7.jpg 0\n', '10 300\na/1.jpg b/7.jpg 0\n',
    'x,y,z\na/1.jpg,b/7.jpg,0\n'
])
def test_byte_order_mark(tmp_path, text):
    (tmp_path / 'pairs.txt').write_text(text, 'utf-8-sig')
    assert pairs(read(tmp_path)) == [('a/1.jpg', 'b/7.jpg', False)]


def test_other_encodings(tmp_path):
    text = 'Zoë/1.jpg b/7.jpg 0\n'
    (tmp_path / 'pairs.txt').write_text(text, 'utf-8')
    assert pairs(read(tmp_path))[0][0] == 'Zoë/1.jpg'
    for encoding in ('utf-16', 'latin-1'):
        (tmp_path / 'pairs.txt').write_text(text, encoding)
        with pytest.raises(ValueError, match='pairs.txt.*Save it as UTF-8'):
            read(tmp_path)


def test_other_formats_of_lfw(tmp_path):
    """The list implies .jpg; what is there counts."""
    for name in ('Al_Jr._0001.png', 'Al_Jr._0002.jpg', 'Al_Jr._0002.png'):
        (tmp_path / 'faces/Al_Jr.').mkdir(parents=True, exist_ok=True)
        (tmp_path / 'faces/Al_Jr.' / name).touch()
    (tmp_path / 'pairs.txt').write_text('Al_Jr. 1 2\nAl_Jr. 3 Al_Jr. 1\n')
    dataset = read(tmp_path, str(tmp_path / 'faces'))
    assert [osp.basename(dataset[i]['img_path']) for i in range(3)] == [
        'Al_Jr._0001.png', 'Al_Jr._0002.jpg', 'Al_Jr._0003.jpg']
    # A path that is written out is taken as it is.
    (tmp_path / 'pairs.txt').write_text('Al_Jr./Al_Jr._0001.jpg a.* 1\n')
    dataset = read(tmp_path, str(tmp_path / 'faces'))
    assert osp.basename(dataset[0]['img_path']) == 'Al_Jr._0001.jpg'
