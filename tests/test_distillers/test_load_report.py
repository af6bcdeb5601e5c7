# Copyright (c) sskd_mm authors. All rights reserved.
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from torch import nn

from sskd_mm.distillers import LoadReport


def make(blocks=2, width=4, extra=None, bias=True):
    net = nn.Module()
    net.stem = nn.Conv2d(3, width, 1, bias=bias)
    net.layer1 = nn.Sequential(*[
        nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        for _ in range(blocks)
    ])
    if extra:
        net.add_module(extra, nn.Linear(2, 2))
    return net


@pytest.fixture
def load(tmp_path):
    """Returns a function that loads weights under a report."""

    def load(net, state_dict, **options):
        path = str(tmp_path / 'x.pth')
        torch.save(state_dict, path)
        report = LoadReport(net, 'backbone', path, **options)
        load_checkpoint(net, path)
        report.close()

    return load


@pytest.fixture
def messages(monkeypatch):
    messages = []
    logger = MMLogger.get_current_instance()
    for name in ('info', 'warning'):
        monkeypatch.setattr(
            logger, name, lambda message, *args: messages.append(message))
    monkeypatch.setattr(logger, 'level', logging.INFO)
    return messages


def test_all_there(load, messages):
    source, net = make(), make()
    load(net, source.state_dict())
    assert torch.equal(net.stem.weight, source.stem.weight)
    message, = messages
    assert 'backbone: 14 of 14 weights loaded from' in message
    assert message.count('none') == 2


def test_a_load_of_the_module_around_it_does_not_count(load):
    net = make()
    report = LoadReport(net, 'backbone', 'x.pth')
    whole = nn.Module()
    whole.backbone = net
    whole.load_state_dict({}, strict=False)
    with pytest.raises(ValueError, match="'x.pth' was never loaded"):
        report.close()


def test_classifier_and_new_layers_are_no_errors(load, messages):
    load(make(extra='norm0'), make(extra='fc').state_dict())
    assert '14 of 16' in messages[0]
    assert 'as initialised: norm0. ' in messages[0]
    assert 'Unused entries of the file: fc.' in messages[0]


def test_counters_may_be_missing(load, messages):
    state = {
        k: v
        for k, v in make().state_dict().items()
        if not k.endswith('num_batches_tracked')
    }
    load(make(), state)
    assert 'as initialised: none' in messages[0]


@pytest.mark.parametrize('file, message', [
    (dict(width=8), r'Another shape \(14\): stem.weight \(8, 3, 1, 1\), not '
     r'\(4, 3, 1, 1\)'),
    (dict(blocks=3), r'Unused.*\(6\): layer1.2.0.weight'),
    (dict(blocks=1), r'Missing, though the file has other layers of the kind '
     r'\(6\): layer1.1.0.weight'),
    (dict(bias=False), r'Missing, though the rest of the layer.*stem.bias'),
])
def test_errors(load, file, message):
    with pytest.raises(ValueError, match=message) as error:
        load(make(), make(**file).state_dict())
    assert 'x.pth' in str(error.value) and 'of 14' in str(error.value)


def test_nothing_fits(load):
    state = {f'backbone.{k}': v for k, v in make().state_dict().items()}
    with pytest.raises(ValueError) as error:
        load(make(), state)
    assert 'The file has: backbone. Wanted: stem, layer1.' in str(error.value)
    assert "are under the prefix 'backbone.'" in str(error.value)
    assert "prefix='backbone.'" in str(error.value)
    with pytest.raises(ValueError, match='The file has: epoch, model') as e:
        load(make(), dict(epoch=1, model=state))
    assert "key 'model' and the prefix 'backbone.'" in str(e.value)


class Net(nn.Module):
    """A classifier, a class embedding, and a buffer per class."""

    def __init__(self, num_classes=3, width=4, hidden=4):
        super().__init__()
        self.backbone = make(width=width)
        self.head = nn.Module()
        self.head.num_classes = num_classes
        self.head.convs = nn.Conv2d(width, hidden, 1)
        self.head.fc = nn.Linear(hidden, num_classes + 1)
        self.head.boxes = nn.Linear(hidden, 4 * num_classes)
        self.query = nn.Module()
        self.query.num_classes = num_classes
        self.query.embedding = nn.Embedding(num_classes, 4)
        self.head.loss = nn.Module()
        self.head.loss.register_buffer('seen', torch.zeros(num_classes))


def test_other_classes(load, messages):
    source, net = Net(5), Net(3)
    before = net.head.fc.weight.clone()
    load(net, source.state_dict(), other_classes=True)
    assert torch.equal(net.head.convs.weight, source.head.convs.weight)
    assert torch.equal(net.head.fc.weight, before)
    warning, = [text for text in messages if 'other classes' in text]
    for line in ('head.fc.weight (4, 4), in the file (6, 4)',
                 'head.fc.bias (4,), in the file (6,)',
                 'head.boxes.weight (12, 4), in the file (20, 4)',
                 'query.embedding.weight (3, 4), in the file (5, 4)',
                 'head.loss.seen (3,), in the file (5,)'):
        assert f'\n  {line}' in warning
    assert warning.count('\n') == 6


@pytest.mark.parametrize('source, options, wrong', [
    # Resuming and testing need the same classes.
    (Net(5), dict(), r'Another shape \(6\): head.fc.weight'),
    # A wrong network is still an error.
    (Net(5, width=6), dict(other_classes=True),
     r'Another shape \(15\): backbone.stem.weight'),
    (Net(5, hidden=6), dict(other_classes=True),
     r'Another shape \(2\): head.fc.weight \(6, 6\)'),
])
def test_no_other_classes(load, source, options, wrong):
    with pytest.raises(ValueError, match=wrong):
        load(Net(), source.state_dict(), **options)


def test_no_outputs_of_a_backbone(load):
    """Its last layer is wider, which is not visible without a head in the
    file."""
    net, source = make(), make()
    net.last, source.last = nn.Linear(4, 2), nn.Linear(4, 3)
    with pytest.raises(ValueError, match=r'Another shape \(2\): last.weight'):
        load(net, source.state_dict(), other_classes=True)


def test_what_a_part_converts_is_no_misfit(load, messages):
    """Resizes its position embedding, like mmpretrain's transformers."""

    class Part(nn.Module):

        def __init__(self, length):
            super().__init__()
            self.embedding = nn.Parameter(torch.ones(length))
            self._register_load_state_dict_pre_hook(self._resize)

        def _resize(self, state_dict, prefix, *args):
            key = f'{prefix}embedding'
            state_dict[key] = state_dict[key][:len(self.embedding)]

    net, source = make(), make()
    net.part, source.part = Part(3), Part(5)
    load(net, source.state_dict())
    assert '15 of 15 weights' in messages[0]


def test_weights_that_a_hook_renames(load, messages):
    """Renames keys in a state_dict and in a file, like mmpretrain's
    TimmClassifier."""
    net = nn.Module()
    net.model = make()
    net._register_state_dict_hook(lambda module, state_dict, prefix, local: {
        k.removeprefix('model.'): v
        for k, v in state_dict.items()
    })

    def add_prefix(state_dict, *args):
        for key in list(state_dict):
            state_dict[f'model.{key}'] = state_dict.pop(key)

    net._register_load_state_dict_pre_hook(add_prefix)
    source = make()
    load(net, source.state_dict())
    assert '14 of 14 weights' in messages[0]
    assert torch.equal(net.model.stem.weight, source.stem.weight)
    with pytest.raises(ValueError, match=r'Missing.*\(1\): model.stem.bias'):
        state = source.state_dict()
        del state['stem.bias']
        load(net, state)


def test_never_loaded():
    report = LoadReport(make(), 'backbone', 'x.pth')
    with pytest.raises(ValueError, match="'x.pth' was never loaded"):
        report.close()


def test_closed():
    net = make()
    report = LoadReport(net, 'backbone', 'x.pth')
    net.load_state_dict(net.state_dict())
    report.close()
    net.load_state_dict(dict(), strict=False)
