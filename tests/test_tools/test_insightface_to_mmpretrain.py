# Copyright (c) sskd_mm authors. All rights reserved.
"""Converted weights of insightface give the original's embeddings."""
import importlib.util
import pickle

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from tool_process import ToolProcess

from sskd_mm.models import convert_checkpoint


class Zoo:
    """Insightface's networks as functions of their weights' names; weights
    that are not there yet are drawn."""

    def __init__(self):
        self.weights = {}

    def get(self, name, *shape):
        if name not in self.weights:
            value = torch.rand(shape) + 0.5
            if len(shape) > 1:
                value = torch.randn(shape) * (2 / value[0].numel())**0.5
            if name.endswith(('bias', 'running_mean')):
                value -= 1
            self.weights[name] = value
        return self.weights[name]

    def conv(self, x, name, out, kernel, stride=1, groups=1, pad=None):
        pad = kernel // 2 if pad is None else pad
        weight = self.get(f'{name}.weight', out, x.shape[1] // groups, kernel,
                          kernel)
        return F.conv2d(x, weight, None, stride, pad, groups=groups)

    def bn(self, x, name):
        mean, var, weight, bias = (
            self.get(f'{name}.{part}', x.shape[1])
            for part in ('running_mean', 'running_var', 'weight', 'bias'))
        self.weights[f'{name}.num_batches_tracked'] = torch.tensor(7)
        return F.batch_norm(x, mean, var, weight, bias)

    def prelu(self, x, name):
        return F.prelu(x, self.get(f'{name}.weight', x.shape[1]))

    def iresnet(self, x, numbers):
        x = self.bn(self.conv(x, 'conv1', 64, 3), 'bn1')
        x = self.prelu(x, 'prelu')
        for stage, number in enumerate(numbers, 1):
            for block in range(number):
                path = f'layer{stage}.{block}'
                width, stride = 32 * 2**stage, 2 if block == 0 else 1
                out = self.bn(x, f'{path}.bn1')
                out = self.bn(
                    self.conv(out, f'{path}.conv1', width, 3), f'{path}.bn2')
                out = self.prelu(out, f'{path}.prelu')
                out = self.conv(out, f'{path}.conv2', width, 3, stride)
                out = self.bn(out, f'{path}.bn3')
                if block == 0:
                    x = self.conv(x, f'{path}.downsample.0', width, 1, 2)
                    x = self.bn(x, f'{path}.downsample.1')
                x = out + x
        x = self.bn(x, 'bn2').flatten(1)
        x = F.linear(x, self.get('fc.weight', 512, x.shape[1]),
                     self.get('fc.bias', 512))
        return self.bn(x, 'features')

    def block(self, x, path, out, kernel, stride=1, groups=1, pad=None,
              linear=False):
        x = self.conv(x, f'{path}.layers.0', out, kernel, stride, groups, pad)
        x = self.bn(x, f'{path}.layers.1')
        return x if linear else self.prelu(x, f'{path}.layers.2')

    def depthwise(self, x, path, out, mid, stride):
        y = self.block(x, f'{path}.layers.0', mid, 1)
        y = self.block(y, f'{path}.layers.1', mid, 3, stride, mid)
        y = self.block(y, f'{path}.layers.2', out, 1, linear=True)
        return x + y if stride == 1 else y

    def mobilefacenet(self, x, numbers, scale):
        narrow, wide = 64 * scale, 128 * scale
        x = self.block(x, 'layers.0', narrow, 3, 2)
        if numbers[0] == 1:
            x = self.block(x, 'layers.1', narrow, 3, 1, 64)
        else:
            for i in range(numbers[0]):
                x = self.depthwise(x, f'layers.1.layers.{i}', narrow, 128, 1)
        for i, (out, mids, number) in enumerate(
            ((narrow, (128, 128), numbers[1]), (wide, (256, 256), numbers[2]),
             (wide, (512, 256), numbers[3]))):
            x = self.depthwise(x, f'layers.{2 * i + 2}', out, mids[0], 2)
            for j in range(number):
                path = f'layers.{2 * i + 3}.layers.{j}'
                x = self.depthwise(x, path, out, mids[1], 1)
        x = self.block(x, 'conv_sep', 512, 1)
        x = self.block(
            x, 'features.layers.0', 512, x.shape[-1], 1, 512, 0, linear=True)
        x = F.linear(
            x.flatten(1), self.get('features.layers.2.weight', 512, 512))
        return self.bn(x, 'features.layers.3')


@pytest.fixture(scope='module')
def rename(root):
    path = root / 'tools/model_converters/insightface_to_mmpretrain.py'
    spec = importlib.util.spec_from_file_location('insightface', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.rename


def _embed(config, path, x):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config.fromfile(config).model).eval()
    weights = torch.load(path, weights_only=True)['state_dict']
    model.load_state_dict(weights, strict=True)
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize('network, options, backbone', [
    ('iresnet', ((2, 2, 2, 2), ), dict(depth=18)),
    ('mobilefacenet', ((1, 4, 6, 2), 2), dict()),
    ('mobilefacenet', ((2, 8, 12, 4), 4), dict(
        blocks=(2, 8, 12, 4), scale=4)),
])
def test_embeddings(network, options, backbone, root, rename, tmp_path):
    torch.manual_seed(0)
    zoo, x = Zoo(), torch.randn(2, 3, 112, 112)
    expected = getattr(zoo, network)(x, *options)
    name = dict(iresnet='iresnet50').get(network, network)
    cfg = Config.fromfile(root / f'configs/_base_/models/face_{name}.py')
    cfg.model.backbone.update(backbone)
    config = str(tmp_path / 'plain.py')
    cfg.dump(config)
    # As from a DDP wrapper; plain ones are below.
    weights = {f'module.{k}': v for k, v in zoo.weights.items()}
    files = str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth')
    torch.save(weights, files[0])
    convert_checkpoint(config, *files, rename)
    embedding = _embed(config, files[1], x)
    assert expected.std() > 0.1
    largest = float(expected.abs().max())
    torch.testing.assert_close(
        embedding, expected, rtol=1e-3, atol=1e-5 * largest)
    # A weight too few, and one too many.
    for key in ('module.bn9.weight', list(weights)[-2]):
        if weights.pop(key, None) is None:
            weights[key] = torch.rand(4)
        torch.save(weights, files[0])
        with pytest.raises(ValueError, match='does not fit the model'):
            convert_checkpoint(config, *files, rename)


def test_command(root, tmp_path, monkeypatch):
    """As a user calls it."""
    torch.manual_seed(0)
    zoo, x = Zoo(), torch.randn(1, 3, 112, 112)
    expected = zoo.mobilefacenet(x, (1, 4, 6, 2), 2)
    torch.save(zoo.weights, tmp_path / 'src.pth')
    config = root / 'configs/_base_/models/face_mobilefacenet.py'
    monkeypatch.chdir(tmp_path)
    output = ToolProcess(
        root / 'tools/model_converters/insightface_to_mmpretrain.py', config,
        'src.pth', 'dst.pth').finish()
    assert f'dst.pth loads in {config}.' in output
    embedding = _embed(config, tmp_path / 'dst.pth', x)
    torch.testing.assert_close(embedding, expected, rtol=1e-3, atol=1e-4)


def test_hostile_file(root, rename, tmp_path):
    class Hostile:

        def __reduce__(self):
            return (open, (str(tmp_path / 'opened'), 'w'))

    with open(tmp_path / 'src.pth', 'wb') as file:
        pickle.dump({'conv1.weight': Hostile()}, file)
    config = str(root / 'configs/_base_/models/face_iresnet50.py')
    with pytest.raises(Exception, match='src.pth'):
        convert_checkpoint(config, str(tmp_path / 'src.pth'),
                           str(tmp_path / 'dst.pth'), rename)
    assert not (tmp_path / 'opened').exists()
    assert not (tmp_path / 'dst.pth').exists()


def test_other_families(rename):
    with pytest.raises(ValueError, match='converts to IResNet, MobileFace'):
        rename('conv1.weight', torch.nn.Linear(1, 1))
