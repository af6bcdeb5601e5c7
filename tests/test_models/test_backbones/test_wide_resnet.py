# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from torch import nn

from sskd_mm.models import WideResNet
from sskd_mm.models.backbones.wide_resnet import PreActivationBlock
from sskd_mm.stages import run_prefix


class Model(nn.Module):
    """What OpenMMLab's models have in common."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.backbone(inputs)


def test_block():
    """Where widths agree the shortcut is the input as it came, elsewhere a
    convolution of the activated one."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 6)
    same, other = (PreActivationBlock(4, 4,
                                      1).eval(), PreActivationBlock(4, 8,
                                                                    2).eval())
    nn.init.zeros_(same.conv2.weight)
    nn.init.zeros_(other.conv2.weight)
    assert torch.equal(same(x), x)
    activated = (x / (1 + 1e-5)**0.5).relu()
    expected = torch.einsum('nchw,oc->nohw', activated[..., ::2, ::2],
                            other.shortcut.weight[..., 0, 0])
    assert torch.allclose(other(x), expected, atol=1e-6)
    assert same.shortcut is None


def test_taps():
    """The last tap has the last norm and ReLU, or what is before the ReLU;
    those before have neither."""
    torch.manual_seed(0)
    model = Model(WideResNet(10, 1)).eval()
    x = torch.rand(2, 3, 8, 8)
    taps = [f'backbone.layer{i}' for i in (1, 2, 3)]
    with torch.no_grad():
        after = run_prefix(model, taps, x)
        before = run_prefix(model, taps, x, pre_activation=True)
        out, = model(x)
    assert torch.equal(after[taps[2]][0], out)
    assert torch.equal(before[taps[2]][0].relu(), out)
    for tap in taps[:2]:
        assert torch.equal(after[tap][0], before[tap][0])
    for features in (after[taps[0]], after[taps[1]], before[taps[2]]):
        assert (features[0] < 0).any()


def test_what_it_refuses():
    for depth in (4, 20, 50):
        with pytest.raises(ValueError, match=f'depth={depth}; it must be 6n'):
            WideResNet(depth, 2)
