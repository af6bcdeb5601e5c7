# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch

from sskd_mm.stages import tokens_to_map


@pytest.mark.parametrize('extra', [0, 1, 2, 5])
@pytest.mark.parametrize('grid', [(14, 14), (7, 7), (12, 16), (3, 8)])
def test_places(extra, grid):
    image = tuple(16 * x for x in grid)
    places = torch.arange(grid[0] * grid[1] * 3.).view(1, 3, *grid)
    tokens = torch.cat(
        [torch.zeros(1, extra, 3),
         places.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(tokens_to_map(tokens, image), places)


def test_no_grid():
    with pytest.raises(ValueError, match='1000 tokens .* 224 x 112'):
        tokens_to_map(torch.rand(1, 1000, 3), (224, 112))
