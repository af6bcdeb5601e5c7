# Copyright (c) sskd_mm authors. All rights reserved.
"""Batches follow from the seed, the pass and their number, and nothing else.
"""
import random
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS, DefaultScope
from torch.utils.data import DataLoader, Dataset

from sskd_mm.engine import data_feed
from sskd_mm.engine.data_feed import DataFeed
from sskd_mm.stages import Phase

IMAGES, BATCH = 10, 4
#: Iterations of a pass.
LENGTH = 3
INFINITE = dict(type='InfiniteSampler')
REPEATED = dict(type='RepeatAugSampler')


class Drawn(Dataset):
    """Its images are drawn by the random generators."""

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        return dict(
            index=int(index),
            drawn=(random.random(), np.random.rand(), float(torch.rand(()))))


@pytest.fixture(autouse=True)
def in_mmpretrain():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture(
    params=[(0, False), (2, False), (2, True)],
    ids=['main', 'workers', 'persistent'])
def workers(request):
    number, persistent = request.param
    return dict(num_workers=number, persistent_workers=persistent)


def make_feed(sampler=dict(type='DefaultSampler', shuffle=True), seed=0,
              **options):
    options.setdefault('num_workers', 0)
    return DataFeed(
        dict(
            dataset=Drawn(), batch_size=BATCH, sampler=sampler, **options),
        seed)


def make_phase(passes=4, cached=0, begin=0, length=LENGTH):
    return Phase(
        'mimic/joint', ('joint', ), ('joint', ),
        max_epochs=passes,
        max_iters=passes * length,
        epoch_length=length,
        begin_pass=begin,
        cached_passes=cached,
        cache_begin=begin)


def take(feed, begin, end, phase=None):
    if phase is not None:
        feed.enter(phase)
    return [(key, batch['index'], batch['drawn'])
            for key, batch in feed.batches(begin, end)]


@pytest.mark.parametrize('sampler', [
    dict(type='DefaultSampler', shuffle=True),
    dict(type='DefaultSampler', shuffle=False), INFINITE, REPEATED
])
@pytest.mark.parametrize('cached', [0, 2])
def test_begins_anywhere(sampler, cached, workers):
    """Within a pass, by any workers."""
    phase = make_phase(cached=cached)
    whole = take(make_feed(sampler), 0, 12, phase)
    assert len({key for key, *_ in whole}) == (6 if cached else 12)
    for begin in (0, 3, 5, 10):
        random.seed(begin)
        torch.manual_seed(begin)
        feed = make_feed(sampler, **workers)
        assert take(feed, begin, 12, phase) == whole[begin:]
    # An unfinished iterator, as after a stop in a validation, has no effect.
    feed = make_feed(sampler, **workers)
    feed.enter(phase)
    next(feed.batches(0, 12))
    assert take(feed, 1, 12) == whole[1:]


def test_passes_differ(workers):
    """They differ in order and augmentation; so do seeds."""
    feed = make_feed(**workers)
    batches = take(feed, 0, 9, make_phase())
    assert [key for key, *_ in batches] == [
        (number, i) for number in range(3) for i in range(LENGTH)
    ]
    for i in range(0, 9, LENGTH):
        indices = sum((x[1] for x in batches[i:i + LENGTH]), [])
        # The last batch is filled up.
        assert set(indices) == set(range(IMAGES))
    drawn = [x for _, _, values in batches for x in map(tuple, zip(*values))]
    assert len(set(drawn)) > 3
    firsts = [
        take(make_feed(seed=seed), 0, 1, make_phase()) for seed in (0, 1)
    ]
    assert firsts[0] != firsts[1]


def test_augmentation_differs_between_passes(workers):
    """Of each image, also if `num_batch_per_epoch` wraps the data set."""
    for options in (dict(), dict(num_batch_per_epoch=2)):
        feed = make_feed(**options, **workers)
        feed.enter(make_phase(length=len(feed)))
        seen = {}
        for _, batch in feed.batches(0, 3 * len(feed)):
            for index, *drawn in zip(batch['index'], *batch['drawn']):
                seen.setdefault(index, []).append(tuple(drawn))
        assert len(seen) == 8 if options else IMAGES
        for values in seen.values():
            assert len(values) >= 3 and len(set(values)) >= 3


def test_replay(workers):
    """The same batches, augmented alike, in another order."""
    feed = make_feed(**workers)
    batches = take(feed, 0, 12, make_phase(cached=2))
    by_key = {}
    for key, *content in batches:
        by_key.setdefault(key, []).append(content)
    assert len(by_key) == 6
    for first, again in by_key.values():
        assert first == again
    keys = [key for key, *_ in batches]
    assert sorted(keys[6:9]) == keys[:3] and sorted(keys[9:]) == keys[3:6]
    assert keys[6:] != keys[:6]


def test_two_phases(workers):
    """The second one continues the passes, or replays its own."""
    phases = make_phase(2), make_phase(3, cached=1, begin=2)
    for sampler in (dict(type='DefaultSampler'), INFINITE):
        feed = make_feed(sampler, **workers)
        first = take(feed, 0, 6, phases[0])
        second = take(feed, 0, 9, phases[1])
        keys = [key for key, *_ in second]
        assert {number for number, _ in keys} == {2}
        # As in a run resumed there.
        for begin in (0, 2, 4):
            feed = make_feed(sampler, **workers)
            assert take(feed, begin, 9, phases[1]) == second[begin:]
        assert first == take(make_feed(sampler), 0, 6, make_phase(5))


@pytest.mark.parametrize('shuffle', [False, True])
def test_a_pass_without_an_end(shuffle):
    """It has as many images as the set, in full batches, each drawn about
    equally often."""
    feed = make_feed(dict(INFINITE, shuffle=shuffle))
    assert len(feed) == LENGTH
    batches = take(feed, 0, 5 * LENGTH, make_phase(5))
    assert all(len(indices) == BATCH for _, indices, _ in batches)
    counts = Counter(sum((indices for _, indices, _ in batches), []))
    assert set(counts.values()) == {5 * LENGTH * BATCH // IMAGES}


def by_index(batches):
    seen = {}
    for _, indices, values in batches:
        for index, *drawn in zip(indices, *values):
            seen.setdefault(index, []).append(tuple(drawn))
    return seen


def test_repeats_are_augmented_differently(workers):
    feed = make_feed(dict(REPEATED, num_repeats=2), **workers)
    seen = by_index(take(feed, 0, LENGTH, make_phase()))
    repeated = [values for values in seen.values() if len(values) > 1]
    assert len(repeated) >= 4
    for values in repeated:
        assert len(set(values)) == len(values)


def test_repeats_on_two_processes(monkeypatch):
    """Wherever an index is drawn, it is drawn once."""
    module = 'mmpretrain.datasets.samplers.repeat_aug.'
    sampler = dict(REPEATED, num_repeats=4, seed=7)
    shares = []

    def of_rank(rank, gathered):
        monkeypatch.setattr(module + 'get_dist_info', lambda: (rank, 2))
        monkeypatch.setattr(data_feed, 'get_rank', lambda: rank)
        monkeypatch.setattr(data_feed, 'get_world_size', lambda: 2)
        monkeypatch.setattr(data_feed, 'all_gather_object',
                            lambda share: gathered(share))
        feed = make_feed(sampler)
        return take(feed, 0, len(feed), make_phase(length=len(feed)))

    def note(share):
        shares.append(share)
        return [[], []]

    for rank in range(2):
        of_rank(rank, note)
    assert len(shares) == 2
    seen = {}
    for rank in range(2):
        for index, values in by_index(of_rank(rank, lambda _: shares)).items():
            seen.setdefault(index, []).extend(values)
    assert max(map(len, seen.values())) >= 3
    for values in seen.values():
        assert len(set(values)) == len(values)


def test_a_loader_that_was_built(workers):
    """Its order follows from the seed and the pass."""

    def loader():
        dataset = Drawn()
        sampler = DATA_SAMPLERS.build(
            dict(
                type='DefaultSampler', dataset=dataset, shuffle=True, seed=0))
        return DataLoader(
            dataset,
            BATCH,
            sampler=sampler,
            collate_fn=lambda batch: dict(
                index=[x['index'] for x in batch],
                drawn=list(zip(*(x['drawn'] for x in batch)))),
            **workers)

    whole = take(DataFeed(loader(), 0), 0, 9, make_phase())
    rest = take(DataFeed(loader(), 0), 4, 9, make_phase())
    assert [x[:2] for x in rest] == [x[:2] for x in whole[4:]]
    with pytest.raises(ValueError, match='no batch sampler'):
        DataFeed(DataLoader(Drawn(), batch_size=None), 0)
