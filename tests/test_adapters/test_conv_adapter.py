# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from sskd_mm.adapters import build_adapter


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


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN')])
def test_init_cfg_is_applied(norm_cfg):
    cfg = dict(
        type='ConvAdapter',
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Constant', layer='Conv2d', val=0.25))
    adapter = build_adapter(cfg, (2, 8, 5, 7), (2, 12, 5, 7))
    conv, = (m for m in adapter.modules() if isinstance(m, torch.nn.Conv2d))
    assert (conv.weight == 0.25).all()


def test_it_starts_with_kaiming_s():
    torch.manual_seed(0)
    adapter = build_adapter(
        dict(type='ConvAdapter'), (2, 256, 8, 8), (2, 512, 8, 8))
    assert (adapter.conv.bias == 0).all()
    # MMEngine counts outputs; torch's default would start with 0.036.
    weight = adapter.conv.weight.detach()
    assert float(weight.std()) == pytest.approx(512**-0.5, rel=0.02)


@pytest.mark.parametrize('source, target', [((2, 8, 5, 7), (2, 12, 5, 7)),
                                            ((2, 9, 8), (2, 9, 12)),
                                            ((2, 8), (2, 12))])
def test_where_the_channels_are(source, target):
    adapter = build_adapter(dict(type='ConvAdapter'), source, target)
    assert adapter(torch.rand(source), target).shape == target


def test_an_adapter_without_initialisation():
    """A plain torch module works, too."""

    @MODELS.register_module(force=True)
    class Plain(torch.nn.Linear):

        def __init__(self, student_channels, teacher_channels):
            super().__init__(student_channels, teacher_channels)

    adapter = build_adapter(dict(type='Plain'), (2, 9, 8), (2, 9, 12))
    assert adapter.weight.shape == (12, 8)
