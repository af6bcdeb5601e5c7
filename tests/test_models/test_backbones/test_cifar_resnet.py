# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch

from sskd_mm.models import CIFARResNet
from sskd_mm.models.backbones.cifar_resnet import PaddedShortcut


@pytest.mark.parametrize('depth, millions',
                         [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85),
                          (110, 1.7)])
def test_parameters_of_the_paper(depth, millions):
    """Table 6 of arXiv 1512.03385; 650 of them are the head's, for ten
    classes."""
    net = CIFARResNet(depth, shortcut='A')
    count = sum(p.numel() for p in net.parameters()) + 650
    assert count / 1e6 == pytest.approx(millions, abs=0.03)
    # A pair of 3x3 convolutions with their norms for each two layers.
    n = (depth - 2) // 6
    expected = 27 * 16 + 32 + 650
    before = 16
    for width in (16, 32, 64):
        expected += 9 * before * width + 9 * width**2 * (2 * n - 1)
        expected += 2 * n * 2 * width
        before = width
    assert count == expected


def test_padded_shortcut():
    x = torch.arange(2 * 2 * 5 * 4.).view(2, 2, 5, 4)
    out = PaddedShortcut(2, 5, 2)(x)
    assert out.shape == (2, 5, 3, 2)
    # Three new channels: one before, two behind.
    assert not out[:, [0, 3, 4]].any()
    assert out[0, 1].tolist() == [[0, 2], [8, 10], [16, 18]]
    assert out[1, 2].tolist() == [[60, 62], [68, 70], [76, 78]]


def test_shortcut_a_of_a_block():
    """With its convolutions silent a block outputs its shortcut."""
    torch.manual_seed(0)
    net = CIFARResNet(8, shortcut='A', base_channels=20, out_indices=(0, 1))
    assert not any('downsample' in name for name in net.state_dict())
    for name in ('layer1', 'layer2'):
        block, = getattr(net, name)
        torch.nn.init.zeros_(block.bn2.weight)
    net.eval()
    x = torch.rand(2, 3, 8, 8)
    stem = net.stem(x)
    first, second = net(x)
    assert torch.equal(first[:, 2:18], stem)  # 16 to 20 channels, stride 1
    assert not first[:, [0, 1, 18, 19]].any()
    assert torch.equal(second[:, 10:30], first[:, :, ::2, ::2])
    assert not second[:, [*range(10), *range(30, 40)]].any()


def test_what_it_refuses():
    for depth in (2, 18, 51):
        with pytest.raises(ValueError, match=f'depth={depth}; it must be 6n'):
            CIFARResNet(depth)
    with pytest.raises(ValueError, match="shortcut='C' must be 'A'.*or 'B'"):
        CIFARResNet(20, shortcut='C')
