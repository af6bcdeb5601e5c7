# Copyright (c) sskd_mm authors. All rights reserved.
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from torchvision.datasets import CIFAR10, CIFAR100

from sskd_mm.datasets import CIFARFileError, CIFARInMemory, SeededDataset

DATA = os.environ.get('SSKD_TEST_DATA')
PIPELINE = [dict(type='PackInputs')]


@pytest.fixture
def in_mmpretrain():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def _loader(dataset, **options):
    return Runner.build_dataloader(
        dict(
            dataset=dataset,
            batch_size=16,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            **options),
        seed=0)


@pytest.mark.parametrize('layout, reference',
                         [('cifar10', CIFAR10), ('cifar100', CIFAR100)])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_holds_what_torchvision_reads(cifar, layout, reference, split,
                                      monkeypatch):
    monkeypatch.setattr(reference, '_check_integrity', lambda self: True)
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity',
                        lambda *args: True)
    theirs = reference(str(cifar), train=split == 'train')
    ours = CIFARInMemory(str(cifar), split, layout)
    assert len(ours) == len(theirs)
    assert ours.metainfo['classes'] == tuple(theirs.classes)
    for index in range(len(ours)):
        image, label = theirs.data[index], theirs.targets[index]
        sample = ours[index]
        np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0), image)
        assert sample['data_samples'].gt_label.tolist() == [label]
        assert sample['data_samples'].sample_idx == index
        info = ours.get_data_info(index)
        np.testing.assert_array_equal(info['img'], image)
        assert info['gt_label'] == label and ours.get_cat_ids(index) == [label]


def test_pipeline_gives_the_same_samples(cifar, in_mmpretrain):
    options = dict(type='CIFARInMemory', data_root=str(cifar))
    fast = DATASETS.build(options)
    slow = DATASETS.build({**options, 'pipeline': PIPELINE})
    for dataset in (fast, slow):
        # With a pipeline, every image is seeded by itself.
        whole = SeededDataset(dataset, 0).__getitems__
        assert (whole is None) == (dataset is slow)
    for a, b in zip(_loader(fast), _loader(slow)):
        assert torch.equal(a['inputs'], b['inputs'])
        for x, y in zip(a['data_samples'], b['data_samples']):
            assert torch.equal(x.gt_label, y.gt_label)
            assert x.sample_idx == y.sample_idx


def test_a_transform_cannot_change_the_set(cifar, in_mmpretrain):
    dataset = CIFARInMemory(str(cifar))
    before = dataset[0]['inputs'].clone()
    dataset.get_data_info(0)['img'][:] = 0
    assert torch.equal(dataset[0]['inputs'], before)


def test_subsets(cifar, in_mmpretrain):
    whole = CIFARInMemory(str(cifar))
    first = CIFARInMemory(str(cifar), indices=10)
    some = CIFARInMemory(str(cifar), indices=[3, 30])
    assert len(first) == 10 and len(some) == 2
    assert torch.equal(first[9]['inputs'], whole[9]['inputs'])
    assert torch.equal(some[1]['inputs'], whole[30]['inputs'])
    assert some[1]['data_samples'].sample_idx == 1
    assert torch.equal(
        whole.get_subset([3, 30])[1]['inputs'], some[1]['inputs'])
    balanced = DATASETS.build(
        dict(
            type='ClassBalancedDataset',
            oversample_thr=0.5,
            dataset=dict(type='CIFARInMemory', data_root=str(cifar))))
    assert len(balanced) > len(whole)
    next(iter(_loader(balanced)))


def test_a_batch_is_taken_at_once(cifar, monkeypatch):
    dataset = SeededDataset(CIFARInMemory(str(cifar)), 0)

    def single(self, index):
        raise AssertionError('one by one')

    monkeypatch.setattr(CIFARInMemory, '__getitem__', single)
    monkeypatch.setattr(SeededDataset, '__getitem__', single)
    loader = _loader(dataset)
    assert [len(batch['inputs']) for batch in loader] == [16, 16, 8]
    loader.sampler.set_epoch(1)
    again = [s.sample_idx for batch in loader for s in batch['data_samples']]
    assert sorted(again) == list(range(40))


def test_workers(cifar, in_mmpretrain):
    first, second = ([
        batch['inputs'] for batch in _loader(
            SeededDataset(CIFARInMemory(str(cifar)), 0), **options)
    ] for options in (dict(), dict(persistent_workers=False)))
    assert all(map(torch.equal, first, second))


def _damaged(cifar, tmp_path, name, **changes):
    root = tmp_path / 'damaged'
    shutil.copytree(cifar, root, dirs_exist_ok=True)
    path = root / name
    content = pickle.loads(path.read_bytes())
    content.update(changes)
    path.write_bytes(pickle.dumps(content, 2))
    return str(root)


@pytest.mark.parametrize('name, changes, says', [
    ('data_batch_3', dict(data=np.zeros((8, 3071), np.uint8)),
     r'row of 3072 .* it is an array of shape \(8, 3071\)'),
    ('data_batch_3', dict(data=np.zeros(3072, np.uint8)), r'\(3072,\)'),
    ('data_batch_3', dict(data=[0] * 3072), 'it is a list'),
    ('data_batch_3', dict(data=None), 'it is a NoneType'),
    ('data_batch_3', dict(labels=[0] * 7), "8 images, but 7 labels under 'l"),
    ('data_batch_3', dict(labels=None), 'but no list of labels'),
    ('data_batch_3', dict(labels=[0] * 7 + [10]),
     'label of image 7 is 10, .* from 0 to 9'),
    ('data_batch_3', dict(labels=[-1] * 8), 'label of image 0 is -1'),
    ('data_batch_3', dict(labels=['cat'] * 8), "label of image 0 is 'cat'"),
    ('batches.meta', dict(label_names=3), "no list of strings 'label_names'"),
])
def test_wrong_content(cifar, tmp_path, name, changes, says):
    name = f'cifar-10-batches-py/{name}'
    root = _damaged(cifar, tmp_path, name, **changes)
    with pytest.raises(CIFARFileError, match=says) as error:
        CIFARInMemory(root)
    for part in (f'{root}/{name}', 'www.cs.toronto.edu/~kriz/cifar.html',
                 f'unpack it in {root}', 'cifar-10-python.tar.gz'):
        assert part in str(error.value)


def test_truncated_or_no_dict(cifar, tmp_path):
    root = _damaged(cifar, tmp_path, 'cifar-100-python/train')
    path = Path(root, 'cifar-100-python/train')
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CIFARFileError, match=f'{path} cannot be read.*cifar-'
                       '100-python.tar.gz'):
        CIFARInMemory(root, layout='cifar100')
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(CIFARFileError, match='holds a list'):
        CIFARInMemory(root, layout='cifar100')


def test_options(cifar):
    with pytest.raises(ValueError, match="layout='cifar' must be one of"):
        CIFARInMemory(str(cifar), layout='cifar')
    with pytest.raises(ValueError, match="split='val' must be one of"):
        CIFARInMemory(str(cifar), split='val')
    names = tuple('abcdefghijkl')
    own = CIFARInMemory(str(cifar), metainfo=dict(classes=names))
    assert own.metainfo['classes'] == names


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_shipped_config(root, cifar, name, in_mmpretrain, tmp_path,
                        monkeypatch):
    cfg = Config.fromfile(root / f'configs/_base_/datasets/{name}.py')
    for key, number in (('train', len(name) > 7 and 16 or 40), ('val', 8)):
        loader = cfg[f'{key}_dataloader']
        assert loader.dataset.data_root == f'data/{name}/'
        loader.dataset.data_root = str(cifar)
        batches = list(Runner.build_dataloader(loader))
        assert sum(len(b['inputs']) for b in batches) == number
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(root / f'configs/_base_/datasets/{name}.py')
    with pytest.raises(FileNotFoundError, match=f'{tmp_path}/data/{name}/cifar'
                       '-.*Get cifar.*data_root=PATH'):
        DATASETS.build(cfg.train_dataloader.dataset)


@pytest.mark.skipif(not DATA, reason='SSKD_TEST_DATA is not set')
def test_real_cifar(tmp_path):
    subprocess.run(
        [sys.executable,
         Path(DATA, 'unpack.py'),
         str(tmp_path), 'cifar10'],
        check=True,
        capture_output=True)
    dataset = CIFARInMemory(str(tmp_path / 'cifar10'))
    assert len(dataset) == 50000
    assert dataset.metainfo['classes'][:2] == ('airplane', 'automobile')
    labels = torch.tensor([dataset.get_cat_ids(i)[0] for i in range(50000)])
    assert labels.bincount().tolist() == [5000] * 10
    # The mean that everybody knows, but for what JPEG changes.
    images = torch.stack(
        [dataset[i]['inputs'] for i in range(0, 50000, 50)]).float()
    torch.testing.assert_close(
        images.mean((0, 2, 3)),
        torch.tensor([125.3, 123.0, 113.9]),
        rtol=0,
        atol=4)
