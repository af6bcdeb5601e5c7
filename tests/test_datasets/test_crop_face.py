# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from sskd_mm.datasets import ListedImages


def crop(image, box, size):
    return TRANSFORMS.build(dict(type='CropFace', size=size))(dict(
        img=image, box=box, img_path='a.jpg'))['img']


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(
        0, 256, (30, 40, 3), dtype=np.uint8)


def test_square_box(image):
    assert (crop(image, (5, 7, 16, 16), 16) == image[7:23, 5:21]).all()


def test_longer_side(image):
    # 10 wide and 16 high: 3 more on either side.
    assert (crop(image, (8, 7, 10, 16), 16) == image[7:23, 5:21]).all()


def test_half_the_size():
    # Of a ramp, the mean of two pixels lies between them.
    ramp = np.tile(np.arange(0, 160, 4, dtype=np.uint8), (40, 1))
    assert crop(ramp, (8, 8, 16, 16), 8)[3].tolist() == [
        4 * (8 + 2 * k) + 2 for k in range(8)
    ]


def test_beyond_the_border(image):
    cut = crop(image, (-4, 0, 16, 16), 16)
    assert not cut[:, :4].any()
    assert (cut[:, 4:] == image[:16, :12]).all()


def test_empty_box(image):
    with pytest.raises(ValueError, match='of a.jpg is empty'):
        crop(image, (5, 7, 0, 16), 16)


def test_listed_images():
    dataset = ListedImages([dict(img_path='a', box=(1, 2, 3, 4)),
                            dict(img_path='b')])
    assert len(dataset) == 2
    assert dataset[0]['box'] == (1, 2, 3, 4)
    assert dataset[1]['sample_idx'] == 1
