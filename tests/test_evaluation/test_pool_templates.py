# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize

from sskd_mm.evaluation import pool_templates


def test_by_hand():
    # A video of three frames counts as much as one photograph.
    x = torch.tensor([[1., 0.], [0., 3.], [0., 2.], [0., 1.], [5., 0.]])
    numbers, pooled = pool_templates(x, [7, 7, 7, 7, 3], [1, 2, 2, 2, 1])
    assert numbers.tolist() == [3, 7]
    length = 5**0.5
    assert pooled.tolist() == [[1, 0],
                               pytest.approx([1 / length, 2 / length])]


@pytest.mark.parametrize('block_size', [1, 5, 65536])
def test_against_loops(block_size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6))
    templates = rng.integers(0, 30, 200) * 5
    media = rng.integers(0, 4, 200)
    numbers, pooled = pool_templates(
        torch.as_tensor(x), templates, media, block_size)
    assert numbers.tolist() == sorted(set(templates))
    for number, found in zip(numbers, pooled):
        means = []
        for medium in set(media[templates == number]):
            frames = x[(templates == number) & (media == medium)]
            means.append(frames.mean(0))
        expected = normalize(np.mean(means, 0)[None])[0]
        assert found.numpy() == pytest.approx(expected, abs=1e-6)
    whole = pool_templates(torch.as_tensor(x), templates, media)[1]
    assert torch.equal(pooled, whole)


def test_wrong_input():
    with pytest.raises(ValueError, match='at least one image'):
        pool_templates(torch.ones(0, 2), np.array([]), np.array([]))
    with pytest.raises(ValueError, match='2 embeddings, 3 template'):
        pool_templates(torch.ones(2, 2), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match='1 of 1 templates are NaN'):
        pool_templates(
            torch.tensor([[1., 0.], [-1., 0.]]), np.ones(2), np.array([1, 2]))
