# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS


def _build(student, teacher, **kwargs):
    return MODELS.build(
        dict(
            type='ConvAdapter',
            student_channels=student,
            teacher_channels=teacher,
            **kwargs))


def test_same_shape_passes_as_it_is():
    adapter = _build(8, 8)
    feature = torch.rand(2, 8, 5, 7)
    assert adapter(feature, feature.shape) is feature
    assert not list(adapter.parameters())


def test_other_width():
    adapter = _build(8, 12)
    feature = torch.rand(2, 8, 5, 7)
    expected = torch.einsum('oi,nihw->nohw', adapter.conv.weight[:, :, 0, 0],
                            feature) + adapter.conv.bias[:, None, None]
    torch.testing.assert_close(adapter(feature, (2, 12, 5, 7)), expected)


def test_other_size():
    adapter = _build(8, 8)
    feature = torch.rand(2, 8, 4, 4)
    expected = F.interpolate(feature, size=(8, 6), mode='bilinear')
    torch.testing.assert_close(adapter(feature, (2, 8, 8, 6)), expected)


def test_smaller_size():
    adapter = _build(8, 12)
    feature = torch.rand(2, 8, 8, 12)
    expected = adapter.conv(F.avg_pool2d(feature, 2))
    torch.testing.assert_close(adapter(feature, (2, 12, 4, 6)), expected)


def test_norm():
    adapter = _build(8, 12, norm_cfg=dict(type='BN'))
    adapted = adapter(torch.rand(4, 8, 5, 7), (4, 12, 5, 7))
    assert adapted.shape == (4, 12, 5, 7)
    mean, std = adapted.mean((0, 2, 3)), adapted.std((0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(12), atol=0.05, rtol=0)


@pytest.mark.parametrize('shape', [(2, 9, 8), (2, 8)])
def test_tokens_and_embeddings(shape):
    adapter = _build(8, 12)
    feature = torch.rand(shape)
    expected = F.linear(feature, adapter.conv.weight[:, :, 0, 0],
                        adapter.conv.bias)
    torch.testing.assert_close(
        adapter(feature, (*shape[:-1], 12)), expected)
