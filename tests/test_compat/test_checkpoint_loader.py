# Copyright (c) sskd_mm authors. All rights reserved.
"""A pickle from a stranger does not run, whichever way MMEngine reads it."""
import os

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint

from sskd_mm.compat import (TruncatedCheckpointError, UntrustedCheckpointError,
                            allow_pickle)


class Hostile:

    def __reduce__(self):
        return os.mkdir, (self.path, )


class CallsGetattr:

    def __reduce__(self):
        return getattr, (str, 'format')


@pytest.fixture
def trap(tmp_path):
    """A folder that reading ``hostile`` in full would make."""
    Hostile.path = str(tmp_path / 'it_ran')
    yield tmp_path / 'it_ran'
    allow_pickle([])


@pytest.fixture
def hostile(trap, tmp_path):
    path = tmp_path / 'hostile.pth'
    torch.save(
        dict(state_dict=dict(weight=torch.ones(1, 1)), meta=Hostile()), path)
    return str(path)


class Net(BaseModule):

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.weight = torch.nn.Parameter(torch.zeros(1, 1))


def test_load_checkpoint(hostile, trap):
    with pytest.raises(UntrustedCheckpointError) as error:
        load_checkpoint(Net(), hostile)
    assert not trap.exists()
    assert f"allow_pickle=['{hostile}']" in str(error.value)
    assert f'--allow-pickle {hostile}' in str(error.value)


@pytest.mark.parametrize('prefix', [None, 'backbone.'])
def test_pretrained(hostile, trap, prefix):
    init_cfg = dict(type='Pretrained', checkpoint=hostile, prefix=prefix)
    with pytest.raises(UntrustedCheckpointError):
        Net(init_cfg).init_weights()
    assert not trap.exists()


@pytest.mark.parametrize('name', [
    'https://example.org/resnet18-hostile.pth', 'torchvision://resnet18',
    'open-mmlab://vgg16_caffe', 'mmcls://mobilenet_v2'
])
def test_schemes(hostile, trap, tmp_path, monkeypatch, name):
    """What lies where downloads are kept is trusted no more than others."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def download(url, file, *args, **kwargs):
        os.link(hostile, file)

    monkeypatch.setattr('torch.hub.download_url_to_file', download)
    with pytest.raises(UntrustedCheckpointError, match=name):
        CheckpointLoader.load_checkpoint(name, map_location='cpu')
    assert not trap.exists()
    allow_pickle([name])
    CheckpointLoader.load_checkpoint(name, map_location='cpu')
    assert trap.exists()


def test_getattr_is_no_way_in(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(x=CallsGetattr()), path)
    with pytest.raises(UntrustedCheckpointError):
        CheckpointLoader.load_checkpoint(str(path))


def test_allowed_by_name(hostile, trap, tmp_path, monkeypatch):
    allow_pickle([str(tmp_path / 'other.pth')])
    with pytest.raises(UntrustedCheckpointError):
        load_checkpoint(Net(), hostile)
    assert not trap.exists()
    # Another spelling of the same file is as good.
    os.symlink(hostile, tmp_path / 'link.pth')
    monkeypatch.chdir(tmp_path)
    allow_pickle(['link.pth'])
    net = Net()
    load_checkpoint(net, hostile)
    assert trap.exists() and net.weight == 1
    allow_pickle([])
    with pytest.raises(UntrustedCheckpointError):
        load_checkpoint(Net(), hostile)


def test_allowed_as_a_string():
    with pytest.raises(TypeError, match=r"allow_pickle=\['x.pth'\]"):
        allow_pickle('x.pth')


def test_truncated(hostile, trap):
    content = open(hostile, 'rb').read()
    with open(hostile, 'wb') as file:
        file.write(content[:-100])
    for files in ([], [hostile]):
        allow_pickle(files)
        with pytest.raises(TruncatedCheckpointError, match='hostile.pth'):
            load_checkpoint(Net(), hostile)
    assert not trap.exists()


def test_torch_is_left_as_it_is(hostile, trap):
    torch_load = torch.load
    declared = torch.serialization.get_safe_globals()
    with pytest.raises(UntrustedCheckpointError):
        load_checkpoint(Net(), hostile)
    assert torch.load is torch_load
    assert set(torch.serialization.get_safe_globals()) == set(declared)
