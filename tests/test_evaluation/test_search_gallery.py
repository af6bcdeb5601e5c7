# Copyright (c) sskd_mm authors. All rights reserved.
import tracemalloc

import numpy as np
import pytest
import torch

from sskd_mm.evaluation import (Identification, SearchResult,
                                normalize_embeddings, search_gallery)


def faces(seed, count, people, dim=8):
    """Embeddings of people, some of them copies of others."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((people, dim))
    who = rng.integers(0, people, count)
    x = centres[who] + 0.8 * rng.standard_normal((count, dim))
    x[:3] = x[3:6]
    return normalize_embeddings(torch.as_tensor(x)), who


def by_definition(probes, who, gallery, enrolled):
    """A search a probe, by sorting subjects."""
    rows = []
    similarities = (probes.double() @ gallery.double().T).float().numpy()
    for row, subject in zip(similarities, who):
        best = {}
        for s, name in zip(row, enrolled):
            best[name] = max(s, best.get(name, -np.inf))
        others = [s for name, s in best.items() if name != subject]
        other = max(others, default=-np.inf)
        if subject in best:
            rank = 1 + sum(s >= best[subject] for s in others)
            rows.append((True, rank, best[subject], other))
        else:
            rows.append((False, 0, np.nan, other))
    return SearchResult(*map(np.array, zip(*rows)))


def check_equal(a, b):
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('block_size', [1, 7, 4096])
def test_against_the_definition(seed, block_size):
    # Several entries a subject, and subjects that are not in the gallery.
    probes, who = faces(seed, 60, 30)
    gallery, enrolled = faces(seed + 10, 40, 25)
    gallery[5] = gallery[20]
    probes[10] = gallery[20]
    result = search_gallery(probes, who, gallery, enrolled, block_size)
    check_equal(result, by_definition(probes, who, gallery, enrolled))
    assert 0 < result.mated.sum() < 60
    assert result.rank.max() > 1


def test_blocks_do_not_show():
    probes, who = faces(0, 500, 400, 128)
    gallery, enrolled = faces(1, 700, 600, 128)
    whole = search_gallery(probes, who, gallery, enrolled, 10**6)
    for block_size in (33, 256):
        check_equal(
            search_gallery(probes, who, gallery, enrolled, block_size), whole)


def test_memory_is_bounded():
    """Similarities of all would take 32 MB."""
    probes, who = faces(0, 2000, 3000, 4)
    gallery, enrolled = faces(1, 4000, 3000, 4)
    tensors = []
    einsum = torch.Tensor.__matmul__

    def matmul(a, b):
        result = einsum(a, b)
        tensors.append(result.numel())
        return result

    torch.Tensor.__matmul__ = matmul
    tracemalloc.start()
    try:
        search_gallery(probes, who, gallery, enrolled, 256)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        torch.Tensor.__matmul__ = einsum
    assert max(tensors) <= 256 * 256
    assert sum(tensors) == pytest.approx(2000 * 4000, rel=0.3)
    assert peak < 4e6


def test_names_of_people():
    gallery = torch.eye(3)
    result = search_gallery(gallery[:2], ['ann', 'joe'], gallery,
                            ['ann', 'bob', 'cid'])
    assert result.mated.tolist() == [True, False]
    assert result.rank.tolist() == [1, 0]
    assert result.other.tolist() == [0, 1]


def test_ties_count_against_the_probe():
    ones = torch.ones(5, 4) / 2
    result = search_gallery(ones[:2], [0, 3], ones, np.arange(5))
    assert result.rank.tolist() == [5, 5]
    assert result.rank_rate(4) == 0 and result.rank_rate(5) == 1


def test_gallery_of_one():
    result = search_gallery(torch.eye(2), [0, 0], torch.eye(2)[:1], [0])
    assert result.rank.tolist() == [1, 1]
    assert result.other.tolist() == [-np.inf] * 2


@pytest.mark.parametrize('probes,gallery', [(0, 3), (3, 0)])
def test_nothing_to_search(probes, gallery):
    with pytest.raises(ValueError, match='at least one'):
        search_gallery(
            torch.ones(probes, 2), np.zeros(probes), torch.ones(gallery, 2),
            np.zeros(gallery))


def random_result(seed, digits=9):
    rng = np.random.default_rng(seed)
    mated = rng.random(180) < 0.4
    mate = rng.random(180).round(digits)
    rank = rng.integers(1, 6, 180)
    other = rng.random(180).round(digits)
    return SearchResult(mated, np.where(mated, rank, 0),
                        np.where(mated, mate, np.nan), other)


@pytest.mark.parametrize('digits', [9, 1])
@pytest.mark.parametrize('seed', range(3))
def test_open_set_against_every_threshold(seed, digits):
    result = random_result(seed, digits)
    mated, rank, mate, other = result
    for fpir in (0, 1e-3, 0.01, 0.1, 0.29, 0.5, 1):
        for first in (False, True):
            best = 0
            for threshold in [*mate[mated], *other[~mated], np.inf, -np.inf]:
                alarms = np.mean([s >= threshold for s in other[~mated]])
                hits = np.mean([
                    s >= threshold and (not first or r == 1)
                    for s, r in zip(mate[mated], rank[mated])
                ])
                if alarms <= fpir:
                    best = max(best, hits)
            assert result.tpir_at_fpir(fpir, first) == pytest.approx(best)


@pytest.mark.parametrize('strangers', [7, 100, 1000])
def test_share_of_alarms_is_exact(strangers):
    """0.29 * 100 is less than 29, yet 29 of 100 are a share of 0.29."""
    other = np.linspace(1, 0, strangers)
    for alarms in range(strangers):
        result = SearchResult(
            np.append(True, np.zeros(strangers, bool)),
            np.append(1, np.zeros(strangers, int)),
            # Between the last alarm that is allowed and the next.
            np.append((other[alarms] + np.append(2, other)[alarms]) / 2,
                      np.full(strangers, np.nan)), np.append(0, other))
        assert result.tpir_at_fpir(alarms / strangers) == 1
        if alarms:
            assert result.tpir_at_fpir((alarms - 1) / strangers) == 0


def test_cmc():
    result = random_result(0)
    ranks = result.rank[result.mated]
    assert result.cmc(5).tolist() == pytest.approx(
        [np.mean([r <= k for r in ranks]) for k in range(1, 6)])
    assert result.rank_rate(2) == result.cmc(5)[1]


def test_galleries_are_averaged():
    a, b = random_result(0), random_result(1)
    both = Identification([a, b])
    assert both.cmc(3)[2] == pytest.approx(
        (a.rank_rate(3) + b.rank_rate(3)) / 2)
    figures = both.summary((1, 3), (0.1, ))
    assert figures['rank-3'] == pytest.approx(100 * both.cmc(3)[2])
    assert figures['TPIR@FPIR=0.1'] == pytest.approx(
        50 * (a.tpir_at_fpir(0.1) + b.tpir_at_fpir(0.1)))
    assert figures['first_TPIR@FPIR=0.1'] < figures['TPIR@FPIR=0.1']


def test_sets_without_one_kind_of_probe():
    a = random_result(0)
    closed = SearchResult(*(x[a.mated] for x in a))
    with pytest.raises(ValueError, match='lacks its subject in the gallery'):
        closed.tpir_at_fpir(0.1)
    assert list(Identification([closed]).summary((1, ), (0.1, ))) == ['rank-1']
    strangers = SearchResult(*(x[~a.mated] for x in a))
    for compute in (strangers.rank_rate, strangers.tpir_at_fpir):
        with pytest.raises(ValueError, match='has its subject'):
            compute(1)
