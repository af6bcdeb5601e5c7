# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch

from sskd_mm.evaluation import normalize_embeddings, pair_distances


def test_against_loops():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 7))
    first, second = rng.integers(0, 20, (2, 50))
    expected = [
        sum((a - b)**2 for a, b in zip(x[i], x[j]))
        for i, j in zip(first, second)
    ]
    found = pair_distances(torch.as_tensor(x), first, second)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('dim', [3, 64, 129])
def test_blocks_do_not_show(dim):
    torch.manual_seed(0)
    x = normalize_embeddings(torch.randn(300, dim))
    first, second = np.random.default_rng(0).integers(0, 300, (2, 2000))
    whole = pair_distances(x, first, second, 10**6)
    for block_size in (1, 7, 999, 2000):
        assert (pair_distances(x, first, second, block_size) == whole).all()
    # The same embedding twice has the same distances everywhere.
    assert (pair_distances(x, first, first) == 0).all()


def test_no_pairs():
    none = np.empty(0, int)
    assert pair_distances(torch.ones(2, 3), none, none).shape == (0, )


def test_image_that_is_not_there():
    with pytest.raises(IndexError, match='images 0 to 5, but there are 5'):
        pair_distances(torch.ones(5, 2), np.array([0, 5]), np.array([1, 1]))


def test_normalize():
    x = torch.tensor([[3., 4.], [3e-30, 4e-30], [3e30, -4e30]])
    assert normalize_embeddings(x).tolist() == [
        pytest.approx(v) for v in ([.6, .8], [.6, .8], [.6, -.8])
    ]
    assert normalize_embeddings(x[:1].half()).dtype == torch.float32


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 0.])
def test_no_direction(value):
    x = torch.ones(10, 3)
    x[[2, 7]] = value
    with pytest.raises(ValueError, match=r'2 of 10 faces .* \(rows 2, 7\)'):
        normalize_embeddings(x, 'faces')


def test_wrong_shape():
    with pytest.raises(ValueError, match=r'\(2, 3, 1, 1\), but must be'):
        normalize_embeddings(torch.ones(2, 3, 1, 1))
