# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch

from sskd_mm.stages import pair_levels


def _maps(size, strides):
    """Sizes are rounded up, as by padded convolutions."""
    return [
        torch.empty(1, 1, *(-(-x // stride) for x in size))
        for stride in strides
    ]


P2_TO_P6 = [4, 8, 16, 32, 64]
P3_TO_P7 = [8, 16, 32, 64, 128]


@pytest.mark.parametrize('size', [(800, 1344), (1333, 800), (416, 416),
                                  (160, 96), (128, 128), (64, 64), (32, 32)])
def test_levels_of_one_stage_and_two_stage_detectors(size):
    one, two = _maps(size, P3_TO_P7), _maps(size, P2_TO_P6)
    assert pair_levels(one, two, size, size) == [(0, 1), (1, 2), (2, 3),
                                                 (3, 4)]
    assert pair_levels(two, one, size, size) == [(1, 0), (2, 1), (3, 2),
                                                 (4, 3)]
    assert pair_levels(one, one, size, size) == [(i, i) for i in range(5)]


def test_strides_count_in_pixels_of_each_network_s_own_input():
    """Of a teacher with larger images, a level has larger maps."""
    assert pair_levels(
        _maps((128, 128), [8, 16]), _maps((256, 256), [8, 16]), (128, 128),
        (256, 256)) == [(0, 0), (1, 1)]


def test_from_coarse_to_fine():
    size = (416, 416)
    assert pair_levels(
        _maps(size, [32, 16, 8]), _maps(size, P3_TO_P7), size,
        size) == [(0, 2), (1, 1), (2, 0)]


def test_sizes_that_are_rounded_down():
    size = (420, 420)
    down = [torch.empty(1, 1, 420 // s, 420 // s) for s in P3_TO_P7]
    assert pair_levels(down, _maps(size, P3_TO_P7), size,
                       size) == [(i, i) for i in range(5)]


def test_single_features_whatever_their_strides():
    size = (64, 64)
    assert pair_levels(_maps(size, [16]), _maps(size, [32]), size,
                       size) == [(0, 0)]


def test_no_maps_go_by_their_order():
    tokens = [torch.empty(1, 10, 4), torch.empty(1, 20, 4)]
    size = (64, 64)
    assert pair_levels(tokens, tokens, size, size) == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match=r'\(10, 4\).*different'):
        pair_levels(tokens, tokens[:1], size, size)


def test_error_lists_the_strides_of_both():
    size = (256, 256)
    with pytest.raises(
            ValueError, match=r'strides \[4, 8\], the teacher \[16, 32\]'):
        pair_levels(
            _maps(size, [4, 8]), _maps(size, [16, 32]), size, size)


@pytest.mark.parametrize('shape', [(2, 4, 8, 8), (2, 64, 4), (2, 4, 1, 1)])
def test_a_vector_is_not_compared_with_positions(shape):
    vector, other = torch.rand(2, 4), torch.rand(shape)
    for pair in (([vector], [other]), ([other], [vector])):
        with pytest.raises(ValueError, match='before the pooling.*after it'):
            pair_levels(*pair, (64, 64), (64, 64))
