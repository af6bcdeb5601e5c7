# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from torch import nn

from sskd_mm.models import CIFARVGG


def test_stages_end_in_a_relu():
    """A pooling begins the next, so a tap is what CRD compares."""
    net = CIFARVGG(13)
    for name in net.layers:
        layers = list(getattr(net, name))
        assert isinstance(layers[-1], nn.ReLU)
        assert isinstance(layers[0], nn.MaxPool2d) == (name != 'layer1')
        assert sum(isinstance(m, nn.MaxPool2d) for m in layers) <= 1


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r'depth=12; it must be one of \[8,'):
        CIFARVGG(12)
