# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from sskd_mm.datasets import CIFARInMemory, SeededDataset, check_sample_idx


class Noise:
    """What augmentation draws from."""

    metainfo = dict(classes=('a', ))

    def __init__(self):
        self.pipeline = 'first'

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return (index, random.random(), np.random.rand(), float(torch.rand(1)))


def test_follows_from_seed_epoch_and_index():
    one, two = SeededDataset(Noise(), 0), SeededDataset(Noise(), 0)
    first = [one[i] for i in range(6)]
    assert [two[i] for i in reversed(range(6))] == first[::-1]
    assert len({x[1] for x in first}) == len({x[2] for x in first}) == 6
    assert len({x[3] for x in first}) == 6
    two.set_epoch(1)
    assert all(a != b for a, b in zip(first, [two[i] for i in range(6)]))
    other = SeededDataset(Noise(), 1)
    assert all(a != b for a, b in zip(first, [other[i] for i in range(6)]))


def test_leaves_the_randomness_around_it_alone():
    dataset = SeededDataset(Noise(), 0)
    states = []
    for load in (False, True):
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        if load:
            dataset[2]
        states.append((random.random(), np.random.rand(), torch.rand(1)))
    assert states[0] == states[1]


def test_workers_that_persist():
    def epochs(workers):
        dataset = SeededDataset(Noise(), 0)
        loader = DataLoader(
            dataset,
            batch_size=2,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=list)
        result = []
        for epoch in range(2):
            dataset.set_epoch(epoch)
            result.append([x for batch in loader for x in batch])
        return result

    assert epochs(0) == epochs(2)


def test_a_copied_config_keeps_it():
    """The Runner deep-copies the dataloader's config before it builds."""
    dataset = SeededDataset(Noise(), 0)
    assert copy.deepcopy(dict(dataset=dataset))['dataset'] is dataset


def test_is_the_data_set_otherwise():
    inner = Noise()
    dataset = SeededDataset(inner, 0)
    assert dataset.metainfo is inner.metainfo and len(dataset) == 6
    assert not hasattr(dataset, 'datasets')
    dataset.pipeline = 'second'  # as SwitchRecipeHook does
    assert inner.pipeline == 'second'
    again = pickle.loads(pickle.dumps(dataset))
    assert again[3] == dataset[3]


@pytest.fixture
def folder_cfg(digit_images):

    def make(split, **options):
        return dict(
            type='CustomDataset',
            data_root=str(digit_images / split),
            pipeline=[dict(type='LoadImageFromFile'),
                      dict(type='PackInputs')],
            **options)

    return make


@pytest.mark.parametrize('wrapper, size', [
    (lambda make: dict(type='ConcatDataset',
                       datasets=[make('train'), make('val')]), 30),
    (lambda make: dict(type='RepeatDataset', times=3, dataset=make('val')),
     30),
    (lambda make: dict(
        type='ClassBalancedDataset', oversample_thr=0.3, dataset=make('val')),
     20),
    (lambda make: dict(
        type='KFoldDataset', num_splits=4, fold=1, dataset=make('train')), 15),
    (lambda make: dict(
        type='ConcatDataset',
        datasets=[make('val', indices=[3, 5, 7]), make('val')]), 13),
])
@pytest.mark.parametrize('batches, workers', [(None, 0), (3, 0), (None, 2)])
def test_number_of_an_image_in_a_wrapper(wrapper, size, batches, workers,
                                         folder_cfg):
    """Each has one of its own, whichever wrapper, and the wrapper's."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        inner = DATASETS.build(wrapper(folder_cfg))
        loader = Runner.build_dataloader(
            dict(
                batch_size=4,
                num_workers=workers,
                num_batch_per_epoch=batches,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=SeededDataset(inner, 0)),
            seed=0)
    samples = [x for batch in loader for x in batch['data_samples']]
    size = 4 * batches if batches else size
    assert sorted(x.sample_idx for x in samples) == list(range(size))
    assert len(loader.dataset) == size
    for sample in samples:
        expected = inner.get_data_info(sample.sample_idx)
        assert sample.img_path == expected['img_path']


def test_number_of_an_image_of_a_batch_at_once(cifar):
    """Of CIFAR, which has no pipeline."""
    inner = CIFARInMemory(data_root=str(cifar), test_mode=True)
    dataset = SeededDataset(Subset(inner, [3, 1]), 0)
    for samples in ([dataset[0], dataset[1]], dataset.__getitems__([0, 1])):
        assert [x['data_samples'].sample_idx for x in samples] == [0, 1]
        assert torch.equal(samples[0]['inputs'], inner[3]['inputs'])


def test_an_image_without_a_number_gets_none(folder_cfg):
    cfg = folder_cfg('val')
    cfg['pipeline'][1]['meta_keys'] = ('img_path', )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = SeededDataset(DATASETS.build(cfg), 0)
    assert 'sample_idx' not in dataset[3]['data_samples']


def test_data_of_the_caller_is_looked_at(folder_cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        single = DATASETS.build(folder_cfg('val'))
        joined = DATASETS.build(
            dict(type='ConcatDataset', datasets=2 * [folder_cfg('val')]))
    check_sample_idx(single)
    check_sample_idx(SeededDataset(joined, 0))
    with pytest.raises(ValueError, match='last of the 20 .* sample_idx=9.*'
                       'ConcatDataset'):
        check_sample_idx(joined)
