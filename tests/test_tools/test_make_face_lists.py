# Copyright (c) sskd_mm authors. All rights reserved.
"""Lists of people to train on and to verify."""
import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest
from mmengine.registry import DATASETS, DefaultScope

DATA = os.environ.get('SSKD_TEST_DATA')


def _run(root, *args):
    return subprocess.run(
        [
            sys.executable, root / 'tools/dataset_converters'
            '/make_face_lists.py', *args
        ],
        capture_output=True,
        text=True)


@pytest.fixture
def people(tmp_path):
    folder = tmp_path / 'faces'
    for person in range(5):
        (folder / f's 0{person}').mkdir(parents=True)
        for number in range(3):
            (folder / f's 0{person}' / f'{number}.PNG').touch()
    (folder / 's 00' / 'notes.txt').touch()
    (folder / 'empty').mkdir()
    return folder


def test_lists(root, people):
    result = _run(root, people, '--unseen', '2')
    assert result.returncode == 0, result.stderr
    train, unseen = (
        [line.rsplit(' ', 1) for line in (people / file).read_text().split(
            '\n')[:-1]] for file in ('train.txt', 'unseen.txt'))
    assert train == [[f's 0{p}/{n}.PNG', str(p)]
                     for p, n in itertools.product(range(3), range(3))]
    assert unseen == [[f's 0{p + 3}/{n}.PNG', str(p)]
                      for p, n in itertools.product(range(2), range(3))]
    pairs = [
        line.split('\t')
        for line in (people / 'pairs.txt').read_text().split('\n')[:-1]
    ]
    who = dict(unseen)
    assert len({tuple(sorted(pair[:2])) for pair in pairs if pair[2] == '1'
                }) == 6
    for a, b, same in pairs:
        assert a != b and (who[a] == who[b]) == (same == '1')
    # Folds of one person each, with as many pairs of one as of two people.
    for number in range(2):
        fold = pairs[6 * number:6 * number + 6]
        assert Counter(pair[2] for pair in fold) == {'1': 3, '0': 3}
        assert {who[pair[0]] for pair in fold} == {str(number)}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(
            dict(
                type='CustomDataset',
                data_root=str(people),
                ann_file='train.txt'))
    assert dataset.get_gt_labels().tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert all(
        os.path.exists(dataset.get_data_info(i)['img_path'])
        for i in range(9))
    text = (people / 'unlabelled.txt').read_text()
    assert text == ''.join(f'{image}\n' for image, _ in train)
    text = (people / 'everyone.txt').read_text()
    assert text == ''.join(f'{image}\n' for image, _ in [*train, *unseen])


@pytest.mark.parametrize('unseen', ['1', '5'])
def test_too_few(root, people, unseen):
    result = _run(root, people, '--unseen', unseen)
    assert result.returncode == 2
    assert 'has folders of 5 people' in result.stderr


@pytest.mark.skipif(not DATA, reason='SSKD_TEST_DATA is not set')
def test_orl(root, tmp_path):
    result = _run(root, f'{DATA}/orl_faces', '--out', tmp_path)
    assert result.returncode == 0, result.stderr
    counts = {
        file.name: len(file.read_text().splitlines())
        for file in tmp_path.iterdir()
    }
    assert counts == {
        'train.txt': 200,
        'unlabelled.txt': 200,
        'everyone.txt': 300,
        'unseen.txt': 100,
        'pairs.txt': 900
    }
