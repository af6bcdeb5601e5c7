# Copyright (c) sskd_mm authors. All rights reserved.
"""Converted weights give the original's outputs."""
import importlib.util
import os
import re

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.models import convert_checkpoint

DATA = os.environ.get('SSKD_TEST_DATA')


class Zoo:
    """Networks of public code as functions of their weights' names.

    Weights that are not there yet are drawn, so that running a network once
    makes its checkpoint.
    """

    def __init__(self, weights=None):
        self.weights = {} if weights is None else weights
        self.used = set()

    def get(self, name, *shape):
        self.used.add(name)
        if name not in self.weights:
            value = torch.rand(shape) + 0.5
            if len(shape) > 1:
                value = torch.randn(shape) * (2 / value[0].numel())**0.5
            if name.endswith(('bias', 'running_mean')):
                value -= 1
            self.weights[name] = value
        return self.weights[name]

    def conv(self, x, name, out, kernel=3, stride=1, groups=1, bias=False):
        weight = self.get(f'{name}.weight',
                          *(out, x.shape[1] // groups, kernel, kernel))
        bias = self.get(f'{name}.bias', out) if bias else None
        return F.conv2d(x, weight, bias, stride, kernel // 2, groups=groups)

    def bn(self, x, name):
        mean, var, weight, bias = (
            self.get(f'{name}.{part}', x.shape[1])
            for part in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, mean, var, weight, bias)

    def head(self, x, name, classes):
        x = x.mean((2, 3))
        return F.linear(x, self.get(f'{name}.weight', classes, x.shape[1]),
                        self.get(f'{name}.bias', classes))

    def resnet(self,
               x,
               n,
               widths=(16, 16, 32, 64),
               shortcut=None,
               head='linear',
               classes=10):
        x = self.bn(self.conv(x, 'conv1', widths[0]), 'bn1').relu()
        for stage, width in enumerate(widths[1:], 1):
            for block in range(n):
                path = f'layer{stage}.{block}'
                stride = 2 if block == 0 and stage > 1 else 1
                out = self.conv(x, f'{path}.conv1', width, 3, stride)
                out = self.bn(out, f'{path}.bn1').relu()
                out = self.bn(
                    self.conv(out, f'{path}.conv2', width), f'{path}.bn2')
                if stride == 1 and x.shape[1] == width:
                    pass
                elif shortcut:
                    path = f'{path}.{shortcut}'
                    x = self.bn(
                        self.conv(x, f'{path}.0', width, 1, stride),
                        f'{path}.1')
                else:
                    old, x = x, x.new_zeros(out.shape)
                    x[:, width // 4:-(width // 4)] = old[:, :, ::2, ::2]
                x = (x + out).relu()
        return self.head(x, head, classes)

    def wrn(self, x, n, width, classes=10):
        x = self.conv(x, 'conv1', 16)
        for stage, out in enumerate((16 * width, 32 * width, 64 * width), 1):
            for block in range(n):
                path = f'block{stage}.layer.{block}'
                stride = 2 if block == 0 and stage > 1 else 1
                y = self.bn(x, f'{path}.bn1').relu()
                if x.shape[1] != out:
                    x = self.conv(y, f'{path}.convShortcut', out, 1, stride)
                y = self.conv(y, f'{path}.conv1', out, 3, stride)
                y = self.bn(y, f'{path}.bn2').relu()
                x = x + self.conv(y, f'{path}.conv2', out)
        return self.head(self.bn(x, 'bn1').relu(), 'fc', classes)

    def vgg(self, x, nums, classes=10):
        for block, (num,
                    width) in enumerate(zip(nums, (64, 128, 256, 512, 512))):
            for i in range(num):
                path = f'block{block}.{3 * i}', f'block{block}.{3 * i + 1}'
                x = self.conv(x, path[0], width, bias=True)
                x = self.bn(x, path[1]).relu()
            if block < 3:
                x = F.max_pool2d(x, 2)
        return self.head(x, 'classifier', classes)

    def mobilenet_v2(self, x, classes=10):
        x = self.bn(self.conv(x, 'conv1.0', 16, 3, 2), 'conv1.1').relu()
        groups = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2),
                  (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
        for group, (ratio, out, num, stride) in enumerate(groups):
            for block in range(num):
                path = f'blocks.{group}.{block}.conv'
                width = ratio * x.shape[1]
                y = self.conv(x, f'{path}.0', width, 1)
                y = self.bn(y, f'{path}.1').relu()
                y = self.conv(y, f'{path}.3', width, 3, stride, width)
                y = self.bn(y, f'{path}.4').relu()
                y = self.bn(self.conv(y, f'{path}.6', out, 1), f'{path}.7')
                x = x + y if x.shape == y.shape else y
                stride = 1
        x = self.bn(self.conv(x, 'conv2.0', 1280, 1), 'conv2.1').relu()
        return self.head(x, 'classifier.0', classes)

    def shufflenet_v1(self, x, classes=10):
        x = self.bn(self.conv(x, 'conv1', 24, 1), 'bn1').relu()
        for stage, (width, num) in enumerate(((240, 4), (480, 8), (960, 4)),
                                             1):
            for block in range(num):
                path = f'layer{stage}.{block}'
                own = width - x.shape[1] if block == 0 else width
                groups = 1 if x.shape[1] == 24 else 3
                y = self.conv(x, f'{path}.conv1', own // 4, 1, 1, groups)
                y = _shuffle(self.bn(y, f'{path}.bn1').relu(), groups)
                y = self.conv(y, f'{path}.conv2', own // 4, 3,
                              2 if block == 0 else 1, own // 4)
                y = self.bn(y, f'{path}.bn2').relu()
                y = self.conv(y, f'{path}.conv3', own, 1, 1, 3)
                y = self.bn(y, f'{path}.bn3')
                x = torch.cat([y, F.avg_pool2d(x, 3, 2, 1)],
                              1) if block == 0 else x + y
                x = x.relu()
        return self.head(x, 'linear', classes)

    def shufflenet_v2(self, x, classes=10):
        x = self.bn(self.conv(x, 'conv1', 24, 1), 'bn1').relu()
        for stage, (width, num) in enumerate(((116, 4), (232, 8), (464, 4)),
                                             1):
            for block in range(num):
                path, half = f'layer{stage}.{block}', width // 2
                first, stride = (3, 2) if block == 0 else (1, 1)
                left, y = (x, x) if block == 0 else (x[:, :half], x[:, half:])
                if block == 0:
                    left = self.conv(left, f'{path}.conv1', x.shape[1], 3, 2,
                                     x.shape[1])
                    left = self.bn(left, f'{path}.bn1')
                    left = self.conv(left, f'{path}.conv2', half, 1)
                    left = self.bn(left, f'{path}.bn2').relu()
                y = self.conv(y, f'{path}.conv{first}', half, 1)
                y = self.bn(y, f'{path}.bn{first}').relu()
                y = self.conv(y, f'{path}.conv{first + 1}', half, 3, stride,
                              half)
                y = self.bn(y, f'{path}.bn{first + 1}')
                y = self.conv(y, f'{path}.conv{first + 2}', half, 1)
                y = self.bn(y, f'{path}.bn{first + 2}').relu()
                x = _shuffle(torch.cat([left, y], 1), 2)
        x = self.bn(self.conv(x, 'conv2', 1024, 1), 'bn2').relu()
        return self.head(x, 'linear', classes)


def _shuffle(x, groups):
    """Channel i of group g goes to place i * groups + g."""
    size = x.shape[1] // groups
    order = [g * size + i for i in range(size) for g in range(groups)]
    return x[:, order]


@pytest.fixture(scope='module')
def tool(root):
    """Returns a function that gives a converter."""

    def load(name):
        path = root / f'tools/model_converters/{name}_to_mmpretrain.py'
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def convert(tool, tmp_path):
    """Converts weights for a backbone; returns the classifier with them."""

    def run(name, backbone, in_channels, weights, classes=10):
        cfg = Config(
            dict(
                model=dict(
                    type='ImageClassifier',
                    backbone=backbone,
                    neck=dict(type='GlobalAveragePooling'),
                    head=dict(
                        type='LinearClsHead',
                        num_classes=classes,
                        in_channels=in_channels))))
        config, dst = str(tmp_path / 'plain.py'), tmp_path / 'new' / 'dst.pth'
        cfg.dump(config)
        src = str(weights)
        if isinstance(weights, dict):
            src = str(tmp_path / 'src.pth')
            torch.save(weights, src)
        convert_checkpoint(config, src, str(dst), tool(name).rename)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(cfg.model)
        checkpoint = torch.load(dst, weights_only=True)
        assert set(checkpoint) == {'state_dict', 'meta'}
        model.load_state_dict(checkpoint['state_dict'], strict=True)
        return model.eval()

    return run


@torch.no_grad()
def _logits(model, x):
    return model.head(model.extract_feat(x))


def _same(logits, expected):
    assert expected.std() > 0.01
    torch.testing.assert_close(
        logits, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


RESNET_X4 = dict(
    type='CIFARResNet', depth=8, stem_channels=32, base_channels=64)


@pytest.mark.parametrize('network, options, backbone, in_channels', [
    ('resnet', dict(n=2), dict(type='CIFARResNet', depth=14,
                               shortcut='A'), 64),
    ('resnet', dict(n=3, shortcut='downsample',
                    head='fc'), dict(type='CIFARResNet', depth=20), 64),
    ('resnet',
     dict(n=1, widths=(32, 64, 128, 256), shortcut='downsample',
          head='fc'), RESNET_X4, 256),
    ('wrn', dict(
        n=2, width=2), dict(type='WideResNet', depth=16, widen_factor=2), 128),
    ('wrn', dict(
        n=1, width=1), dict(type='WideResNet', depth=10, widen_factor=1), 64),
    ('vgg', dict(nums=(1, 1, 1, 1, 1)), dict(type='CIFARVGG', depth=8), 512),
    ('vgg', dict(nums=(2, 2, 2, 2, 2)), dict(type='CIFARVGG', depth=13), 512),
    ('mobilenet_v2', {}, dict(type='CIFARMobileNetV2'), 1280),
    ('shufflenet_v1', {}, dict(type='CIFARShuffleNetV1'), 960),
    ('shufflenet_v2', {}, dict(type='CIFARShuffleNetV2'), 1024),
])
def test_cifar(network, options, backbone, in_channels, convert):
    torch.manual_seed(0)
    zoo, x = Zoo(), torch.randn(4, 3, 32, 32)
    expected = getattr(zoo, network)(x, **options)
    model = convert('cifar', backbone, in_channels,
                    dict(model=zoo.weights, epoch=240, best_acc=70.5))
    _same(_logits(model, x), expected)


def test_cifar_resnet50(convert):
    """RepDistiller's is torchvision's without stride and pooling in the
    stem, under other names."""
    torch.manual_seed(0)
    net = torchvision.models.resnet50(num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    _draw_norms(net)
    weights = {
        re.sub('^fc', 'linear', key.replace('downsample', 'shortcut')): value
        for key, value in net.state_dict().items()
    }
    model = convert('cifar', dict(type='ResNet_CIFAR', depth=50), 2048,
                    dict(model=weights))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        _same(_logits(model, x), net(x))


@pytest.mark.skipif(not DATA, reason='SSKD_TEST_DATA is not set')
@pytest.mark.parametrize('depth, file', [(20, '20-12fca82f'),
                                         (32, '32-d509ac18'),
                                         (56, '56-4bfd9763')])
def test_public_weights(depth, file, convert):
    """Saved on a GPU, for ten classes; also what ResNet-20 gets right of the
    first thousand test images."""
    path = f'{DATA}/resnet_cifar10/resnet{file}.th'
    public = torch.load(path, map_location='cpu', weights_only=True)
    zoo = Zoo({k[len('module.'):]: v for k, v in public['state_dict'].items()})
    names = set(zoo.weights)
    model = convert('cifar',
                    dict(type='CIFARResNet', depth=depth,
                         shortcut='A'), 64, path)
    images, labels = _test_images(1000 if depth == 20 else 16)
    right = []
    for logits in (lambda x: _logits(model, x),
                   lambda x: zoo.resnet(x, (depth - 2) // 6)):
        scores = torch.cat([logits(x) for x in images.split(250)])
        right.append(int((scores.argmax(1) == labels).sum()))
    _same(
        _logits(model, images[:16]), zoo.resnet(images[:16], (depth - 2) // 6))
    assert zoo.used == names == set(zoo.weights)
    assert right[0] == right[1]
    if depth == 20:
        # 81.03 % of all ten thousand; JPEG decoders differ a little.
        assert abs(right[0] - 810) <= 15


def _test_images(num):
    with np.load(f'{DATA}/cifar10_test.npz') as archive:
        jpeg, offsets, labels = (
            archive[key] for key in ('jpeg', 'offsets', 'labels'))
    images = np.stack([
        cv2.imdecode(jpeg[offsets[i]:offsets[i + 1]], cv2.IMREAD_COLOR)
        for i in range(num)
    ])[..., ::-1]
    images = (images - np.array([123.675, 116.28, 103.53])) / np.array(
        [58.395, 57.12, 57.375])
    return (torch.from_numpy(images.transpose(0, 3, 1, 2)).float(),
            torch.from_numpy(labels[:num]).long())


def _draw_norms(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize('name, backbone, in_channels', [
    ('resnet18', dict(type='ResNet', depth=18), 512),
    ('resnext50_32x4d',
     dict(type='ResNeXt', depth=50, groups=32, width_per_group=4), 2048),
    ('mobilenet_v2', dict(type='MobileNetV2'), 1280),
])
def test_torchvision(name, backbone, in_channels, convert):
    torch.manual_seed(0)
    net = _draw_norms(torchvision.models.get_model(name, num_classes=7))
    model = convert('torchvision', backbone, in_channels, net.state_dict(), 7)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        _same(_logits(model, x), net(x))


@pytest.mark.parametrize('name, backbone, in_channels', [
    ('resnet18', dict(type='ResNet', depth=18), 512),
    ('resnet18d', dict(type='ResNetV1d', depth=18), 512),
])
def test_timm(name, backbone, in_channels, convert):
    timm = pytest.importorskip('timm', reason='converts timm\'s weights')
    torch.manual_seed(0)
    net = _draw_norms(timm.create_model(name, num_classes=7))
    model = convert('timm', backbone, in_channels, net.state_dict(), 7)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        _same(_logits(model, x), net(x))


def test_other_families(convert):
    zoo = Zoo()
    zoo.resnet(torch.rand(1, 3, 8, 8), 1)
    with pytest.raises(
            ValueError,
            match='backbone is a ResNet; this tool converts to '
            'CIFARResNet, ResNet_CIFAR,'):
        convert('cifar', dict(type='ResNet', depth=18), 512, zoo.weights)


def test_command(root, tool, tmp_path, monkeypatch, capsys):
    """With a config as it is shipped."""
    zoo, x = Zoo(), torch.randn(2, 3, 32, 32)
    expected = zoo.vgg(x, (1, ) * 5, classes=100)
    torch.save(zoo.weights, tmp_path / 'src.pth')
    config = str(root / 'configs/_base_/models/cifar_vgg8.py')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['tool', config, 'src.pth', 'dst.pth'])
    tool('cifar').main()
    assert f'dst.pth loads in {config}.' in capsys.readouterr().out
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config.fromfile(config).model).eval()
    model.load_state_dict(
        torch.load('dst.pth', weights_only=True)['state_dict'])
    _same(_logits(model, x), expected)
