# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import pickle
import random

import numpy as np
import torch
from torch.utils.data import DataLoader

from sskd_mm.datasets import SeededDataset


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
