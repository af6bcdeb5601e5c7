# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from torch import nn

from sskd_mm.stages import run_prefix


class Net(nn.Module):
    """Three convolutions with OpenMMLab's call signature."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.unused = nn.Conv2d(4, 5, 3)
        self.split = nn.Identity()
        self.third = nn.Conv2d(5, 6, 3)
        self.runs = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'tensor'
        x = self.first(inputs).relu()
        self.runs.append('first')
        x = self.second(x)
        self.runs.append('second')
        x, _ = self.split((x, x + 1))
        x = self.third(x)
        self.runs.append('third')
        return x


def _detached(path, outputs):
    return [x.detach().clone() for x in outputs]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def test_prefix_equals_full_run(net):
    inputs = torch.rand(2, 3, 8, 8)
    full = net.second(net.first(inputs).relu())
    features = run_prefix(net, ['first', 'second'], inputs)
    assert list(features) == ['first', 'second']
    assert torch.equal(features['second'][0], full)
    assert net.runs == ['first'], 'what follows the last tap must not run'


def test_hooks_are_gone_afterwards(net):
    inputs = torch.rand(1, 3, 8, 8)
    run_prefix(net, ['first'], inputs)
    net(inputs)
    assert net.runs == ['first', 'second', 'third']


def test_sequences(net):
    features = run_prefix(net, ['split'], torch.rand(1, 3, 8, 8))
    low, high = features['split']
    assert torch.equal(low + 1, high)


def test_gradients_cross_borders_unless_detached(net):
    inputs = torch.rand(1, 3, 8, 8)
    taps = ['first', 'second']
    run_prefix(net, taps, inputs)['second'][0].sum().backward()
    assert net.first.weight.grad.abs().sum() > 0
    net.zero_grad()
    features = run_prefix(net, taps, inputs, pass_on=_detached)
    features['second'][0].sum().backward()
    assert net.first.weight.grad is None
    assert net.second.weight.grad.abs().sum() > 0
    features['first'][0].sum().backward()
    assert net.first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('pass_on', [None, _detached])
def test_what_follows_may_work_in_place(net, pass_on):
    inputs = torch.rand(1, 3, 8, 8)
    net.split.forward = lambda pair: (pair[0].relu_(), pair[1])
    taps = ['second', 'third']
    alone = run_prefix(net, taps[:1], inputs)['second'][0]
    assert alone.min() < 0
    features = run_prefix(net, taps, inputs, pass_on=pass_on)
    assert torch.equal(features['second'][0], alone)
    features['second'][0].sum().backward()
    assert net.second.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('size', [(8, 8), [8, 8], torch.Size((8, 8)), 8, None])
def test_sizes_are_no_features(net, size):
    seen = []
    net.split.forward = lambda pair: (pair[0], size)
    net.split.register_forward_hook(lambda *args: seen.append(args[-1]))
    features = run_prefix(net, ['split', 'third'], torch.rand(1, 3, 8, 8))
    assert torch.equal(*features['split'], seen[0][0])
    assert seen[0][1] == size


def test_tap_that_never_runs(net):
    with pytest.raises(RuntimeError, match="never ran.*'unused'"):
        run_prefix(net, ['first', 'unused'], torch.rand(1, 3, 8, 8))


def test_tap_behind_annotations(net):
    """Like the RPN of a two-stage detector."""
    net.unused.register_forward_pre_hook(lambda *_: list(None))
    net.third = net.unused
    with pytest.raises(RuntimeError, match="annotations before.*'third'"):
        run_prefix(net, ['first', 'third'], torch.rand(1, 3, 8, 8))


def test_tap_that_runs_twice(net):
    net.first = net.second = nn.Conv2d(3, 3, 3, padding=1)
    with pytest.raises(RuntimeError, match='more than once'):
        run_prefix(net, ['first', 'third'], torch.rand(1, 3, 8, 8))


def test_output_must_be_tensors(net):
    net.split.forward = lambda pair: (pair[0], 'text')
    with pytest.raises(TypeError, match="'split' outputs tuple of.*'str'"):
        run_prefix(net, ['split'], torch.rand(1, 3, 8, 8))


def test_other_features_can_be_passed_on(net):
    inputs, other = torch.rand(1, 3, 8, 8), torch.rand(1, 5, 8, 8)
    features = run_prefix(
        net, ['second', 'third'], inputs, pass_on=lambda path, _: [other])
    assert torch.equal(features['third'][0], net.third(other))
    assert torch.equal(features['second'][0],
                       net.second(net.first(inputs).relu()))


class Detector(Net):
    """Trains by ``loss``, like OpenMMLab's detectors."""

    def extract_feat(self, inputs):
        return Net.forward(self, inputs)


class Empty(Detector):
    """Like Co-DETR."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        pass


class Unfinished(Detector):
    """Like mmdet's ``Detectron2Wrapper``."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError


class NeedsSamples(Detector):

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.first(inputs)
        return self.extract_feat(inputs), data_samples[0].metainfo


class FailsOnTheWay(Detector):

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.first(inputs)
        raise KeyError('head')


@pytest.mark.parametrize(
    'detector', [Detector, Empty, Unfinished, NeedsSamples, FailsOnTheWay])
def test_no_mode_tensor(detector):
    net = detector()
    net.load_state_dict(Net().state_dict())
    inputs = torch.rand(2, 3, 8, 8)
    features = run_prefix(net, ['first', 'second'], inputs)
    assert torch.equal(features['first'][0], net.first(inputs))
    assert torch.equal(features['second'][0],
                       net.second(net.first(inputs).relu()))
    assert net.runs == ['first'], 'what follows the last tap must not run'


def test_the_first_error_is_told():
    net = Unfinished()
    net.extract_feat = lambda inputs, more: None
    with pytest.raises(NotImplementedError):
        run_prefix(net, ['first'], torch.rand(1, 3, 8, 8))
    with pytest.raises(RuntimeError, match="never ran.*'unused'"):
        run_prefix(Empty(), ['first', 'unused'], torch.rand(1, 3, 8, 8))
