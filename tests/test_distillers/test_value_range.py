# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from sskd_mm.distillers.value_range import find_wrong_range

EIGHT_BITS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
UNIT = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
FACES = dict(mean=[127.5] * 3, std=[128.] * 3)
SIXTEEN = dict(mean=[20000.] * 3, std=[9000.] * 3)


def images(largest, dtype=torch.float32):
    values = torch.linspace(0, largest, 3 * 8 * 8).to(dtype)
    return [values.view(3, 8, 8), torch.zeros(3, 8, 8, dtype=dtype)]


@pytest.mark.parametrize('largest, dtype, statistics, message', [
    (2.6, torch.float32, EIGHT_BITS, 'normalised already'),
    (1, torch.float32, FACES, 'normalised already'),
    (255, torch.uint8, UNIT, 'by 255'),
    (255, torch.float32, UNIT, 'by 255'),
    (65535, torch.int32, EIGHT_BITS, 'for 8-bit'),
])
def test_wrong(largest, dtype, statistics, message):
    preprocessor = ImgDataPreprocessor(**statistics)
    found = find_wrong_range(images(largest, dtype), preprocessor)
    assert message in found
    # A batch that is already a tensor.
    assert find_wrong_range(torch.stack(images(largest, dtype)),
                            preprocessor) == found


@pytest.mark.parametrize('largest, dtype, statistics', [
    (255, torch.uint8, EIGHT_BITS),
    (255, torch.uint8, FACES),
    (255, torch.float32, EIGHT_BITS),
    (1, torch.float32, UNIT),
    (65535, torch.int32, SIXTEEN),
    (255, torch.uint8, {}),
    (2.6, torch.float32, {}),
    (0, torch.uint8, EIGHT_BITS),
    (0, torch.float32, EIGHT_BITS),
    (7, torch.uint8, EIGHT_BITS),
])
def test_right(largest, dtype, statistics):
    preprocessor = ImgDataPreprocessor(**statistics)
    assert find_wrong_range(images(largest, dtype), preprocessor) is None
