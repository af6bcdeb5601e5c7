# Copyright (c) sskd_mm authors. All rights reserved.
"""Templates none of whose faces could be embedded are misses, as a protocol
of verification and identification counts them."""
import numpy as np
import pytest
import torch

from sskd_mm.evaluation import (Identification, Verification,
                                normalize_embeddings, pool_templates,
                                search_gallery)


def unit(rng, *shape):
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_failed_faces_take_no_part_in_templates():
    x = torch.tensor([[0., 0.], [0., 3.], [0., 0.], [4., 0.], [0., 0.]])
    templates, media = np.array([7, 7, 5, 9, 5]), np.array([1, 2, 1, 1, 1])
    numbers, pooled = pool_templates(x, templates, media)
    assert numbers.tolist() == [5, 7, 9]
    assert pooled.tolist() == [[0, 0], [0, 1], [1, 0]]
    # Within a video, too: the mean is that of the frames that worked.
    frames = torch.tensor([[3., 0.], [0., 0.], [0., 3.]])
    assert pool_templates(frames, [1, 1, 1], [1, 1, 2])[1].tolist() == [
        pytest.approx([.5**.5, .5**.5])
    ]
    with pytest.raises(ValueError, match='All 5 embeddings are zeros'):
        pool_templates(x * 0, templates, media)


@pytest.mark.parametrize('failed', [(), (3, ), (0, 4, 5, 11), range(9)])
def test_verification(failed):
    """Rates by counting, where a failed pair is never accepted."""
    rng = np.random.default_rng(0)
    x = unit(rng, 12, 4)
    x[list(failed)] = 0
    first, second = np.triu_indices(12, 1)
    same = first % 3 == second % 3
    result = Verification(
        torch.as_tensor(x), first, second, same, allow_failures=True)
    works = np.isin([first, second], list(failed), invert=True).all(0)
    scores = (x @ x.T)[first, second]
    for far in (0, .05, .2, .5):
        rates = [
            np.mean((scores >= t)[same] & works[same])
            for t in [*scores, 2]
            if np.mean((scores >= t)[~same] & works[~same]) <= far
        ]
        assert result.roc.tar_at_far(far) == pytest.approx(max(rates))
    if failed:
        with pytest.raises(ValueError, match=f'{len(failed)} of 12 .* zeros'):
            Verification(torch.as_tensor(x), first, second, same)


@pytest.mark.parametrize('block_size', [1, 5, 4096])
@pytest.mark.parametrize('probes, entries', [
    ((), ()), ((2, ), ()), ((), (1, )), ((0, 7, 8), (2, 3)),
    (range(5), range(3)), ((), range(7))
])
def test_identification(probes, entries, block_size):
    """Against loops; people 0 to 5 are searched for, 0 to 3 enrolled, 0 and 1
    twice."""
    rng = np.random.default_rng(1)
    who, enrolled = np.arange(12) % 6, np.array([0, 1, 2, 3, 0, 1])
    p, g = unit(rng, 12, 3), unit(rng, 6, 3)
    g = np.concatenate([g, unit(rng, 1, 3)])
    enrolled = np.append(enrolled, 9)
    p[list(probes)] = 0
    g[list(entries)] = 0
    result = search_gallery(
        torch.as_tensor(p), who, torch.as_tensor(g), enrolled, block_size)
    mates, ranks, alarms = [], [], []
    for i in range(12):
        scores = {}
        for j, person in enumerate(enrolled):
            works = i not in probes and j not in entries
            score = np.float32(p[i] @ g[j]) if works else -np.inf
            scores[person] = max(scores.get(person, -np.inf), score)
        mate = scores.pop(who[i], None)
        if mate is None:
            alarms.append(max(scores.values()))
            continue
        mates.append(mate)
        found = mate > -np.inf
        ranks.append(1 + sum(x >= mate for x in scores.values()) + (not found))
    assert result.mated.sum() == 8
    assert result.rank[result.mated].tolist() == ranks
    assert result.mate[result.mated] == pytest.approx(mates)
    assert result.other[~result.mated] == pytest.approx(alarms)
    identification = Identification([result])
    # There are five subjects; a failure is not found at any later rank.
    found = np.array(mates) > -np.inf
    assert identification.cmc(9).tolist() == [
        np.mean((np.array(ranks) <= k) & found) for k in range(1, 10)
    ]
    for fpir in (0, .25, .5, 1):
        expected = max(
            np.mean((np.array(mates) >= t) & (np.array(mates) > -np.inf))
            for t in [*np.nextafter(alarms, 2, dtype=np.float32), *mates, -2]
            if np.mean((np.array(alarms) >= t)
                       & (np.array(alarms) > -np.inf)) <= fpir)
        assert result.tpir_at_fpir(fpir) == pytest.approx(expected)


def test_zeros_are_an_error_unless_they_are_allowed():
    x = torch.tensor([[0., 0.], [3., 4.]])
    assert normalize_embeddings(
        x, allow_failures=True).tolist() == [[0, 0], pytest.approx([.6, .8])]
    with pytest.raises(ValueError, match='1 of 2'):
        normalize_embeddings(x)
    x[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r'rows 0\)'):
        normalize_embeddings(x, allow_failures=True)
