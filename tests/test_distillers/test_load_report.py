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
    """Returns a function that loads weights under a report's eyes."""

    def load(net, state_dict, prefix=''):
        path = str(tmp_path / 'x.pth')
        torch.save(state_dict, path)
        whole = net
        if prefix:
            whole = nn.Module()
            whole.add_module(prefix[:-1], net)
        report = LoadReport(net, 'backbone', path, prefix)
        load_checkpoint(whole, path)
        report.close()

    return load


@pytest.fixture
def messages(monkeypatch):
    messages = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(
        logger, 'info', lambda message, *args: messages.append(message))
    monkeypatch.setattr(logger, 'level', logging.INFO)
    return messages


def test_all_there(load, messages):
    source, net = make(), make()
    load(net, source.state_dict())
    assert torch.equal(net.stem.weight, source.stem.weight)
    message, = messages
    assert 'backbone: 14 of 14 weights loaded from' in message
    assert message.count('none') == 2


def test_part_of_a_larger_module(load, messages):
    source = make(extra='a').state_dict()
    state = {f'backbone.{k}': v for k, v in source.items()}
    load(make(), dict(state, other=torch.ones(1)), prefix='backbone.')
    assert '14 of 14 weights' in messages[0]
    assert 'of no use: a.' in messages[0], 'only what is below the prefix'
    with pytest.raises(ValueError, match=r'Missing.*\(1\): stem.bias'):
        state.pop('backbone.stem.bias')
        load(make(), state, prefix='backbone.')


def test_classifier_and_new_layers_are_no_errors(load, messages):
    load(make(extra='norm0'), make(extra='fc').state_dict())
    assert '14 of 16' in messages[0]
    assert 'as initialised: norm0. ' in messages[0]
    assert 'of no use: fc.' in messages[0]


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
    (dict(blocks=1), r'Missing, though the file has others of the row \(6\): '
     'layer1.1.0.weight'),
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
    assert "prefix='backbone.'" in str(error.value)
    with pytest.raises(ValueError, match='The file has: epoch, model'):
        load(make(), dict(epoch=1, model=state))


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
