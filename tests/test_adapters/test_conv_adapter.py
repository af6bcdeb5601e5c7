# Copyright (c) sskd_mm authors. All rights reserved.
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS


def _build(student, teacher):
    return MODELS.build(
        dict(
            type='ConvAdapter',
            student_channels=student,
            teacher_channels=teacher))


def test_same_shape_passes_as_it_is():
    adapter = _build(8, 8)
    feature = torch.rand(2, 8, 5, 7)
    assert adapter(feature, feature.shape[-2:]) is feature
    assert not list(adapter.parameters())


def test_other_width():
    adapter = _build(8, 12)
    feature = torch.rand(2, 8, 5, 7)
    expected = torch.einsum('oi,nihw->nohw', adapter.conv.weight[:, :, 0, 0],
                            feature) + adapter.conv.bias[:, None, None]
    torch.testing.assert_close(adapter(feature, (5, 7)), expected)


def test_other_size():
    adapter = _build(8, 8)
    feature = torch.rand(2, 8, 4, 4)
    expected = F.interpolate(feature, size=(8, 6), mode='bilinear')
    torch.testing.assert_close(adapter(feature, (8, 6)), expected)
