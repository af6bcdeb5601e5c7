# Copyright (c) sskd_mm authors. All rights reserved.
"""What holds for each network for CIFAR."""
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.stages import HEAD, find_stages

RESNET = {
    f'resnet{depth}': ('resnet20', dict(depth=depth), 64, count)
    for depth, count in ((8, 83892), (14, 181108), (20, 278324), (32, 472756),
                         (44, 667188), (56, 861620), (110, 1736564))
}
RESNET_X4 = {
    f'resnet{depth}x4':
    ('resnet20', dict(depth=depth, stem_channels=32,
                      base_channels=64), 256, count)
    for depth, count in ((8, 1233540), (32, 7433860))
}
WRN = {
    f'wrn_{depth}_{width}':
    ('wrn_16_2', dict(depth=depth, widen_factor=width), 64 * width, count)
    for depth, width, count in ((16, 1, 180916), (16, 2, 703284),
                                (40, 1, 569780), (40, 2, 2255156))
}
VGG = {
    f'vgg{depth}': ('vgg8', dict(depth=depth), 512, count)
    for depth, count in ((8, 3965028), (11, 9277284), (13, 9462180),
                         (16, 14774436), (19, 20086692))
}
# A network of CRD's zoo (RepDistiller): its base config, what is set in its
# backbone, the head's in_channels, and the number of parameters that the
# public code has with 100 classes.
ZOO = {
    **RESNET,
    **RESNET_X4,
    **WRN,
    **VGG, 'MobileNetV2': ('mobilenet_v2', {}, 1280, 812836),
    'ShuffleV1': ('shufflenet_v1', {}, 960, 949258),
    'ShuffleV2': ('shufflenet_v2', {}, 1024, 1355528),
    'ResNet50': ('resnet50', {}, 2048, 23705252)
}
# Each family's features of an image of 32 x 32: channels and side.
SHAPES = {
    'resnet20': [(16, 32), (32, 16), (64, 8)],
    'resnet8x4': [(64, 32), (128, 16), (256, 8)],
    'wrn_40_2': [(32, 32), (64, 16), (128, 8)],
    'vgg8': [(64, 32), (128, 16), (256, 8), (512, 4)],
    'vgg13': [(64, 32), (128, 16), (256, 8), (512, 4)],
    'MobileNetV2': [(12, 16), (16, 8), (48, 4), (1280, 2)],
    'ShuffleV1': [(240, 16), (480, 8), (960, 4)],
    'ShuffleV2': [(116, 16), (232, 8), (1024, 4)],
    'ResNet50': [(256, 32), (512, 16), (1024, 8), (2048, 4)],
}
# CRD's pairs, teacher first.
PAIRS = [('wrn_40_2', 'wrn_16_2'), ('wrn_40_2', 'wrn_40_1'),
         ('resnet56', 'resnet20'), ('resnet110', 'resnet20'),
         ('resnet110', 'resnet32'), ('resnet32x4', 'resnet8x4'),
         ('vgg13', 'vgg8'), ('vgg13', 'MobileNetV2'),
         ('ResNet50', 'MobileNetV2'), ('ResNet50', 'vgg8'),
         ('resnet32x4', 'ShuffleV1'), ('resnet32x4', 'ShuffleV2'),
         ('wrn_40_2', 'ShuffleV1')]


@pytest.fixture
def zoo(root):
    """Returns a function that gives the config of one of these networks."""

    def get(name):
        base, options, in_channels, _ = ZOO[name]
        path = root / f'configs/_base_/models/cifar_{base}.py'
        cfg = Config.fromfile(path).model
        cfg.backbone.update(options)
        cfg.head.in_channels = in_channels
        return cfg.to_dict()

    return get


def _build(cfg):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg)


@pytest.mark.parametrize('name', ZOO)
def test_parameters(name, zoo):
    model = _build(zoo(name))
    assert sum(p.numel() for p in model.parameters()) == ZOO[name][-1]


@pytest.mark.parametrize('name', SHAPES)
@pytest.mark.parametrize('memory_format',
                         [torch.contiguous_format, torch.channels_last])
def test_features(name, memory_format, zoo):
    model = _build(zoo(name)).to(memory_format=memory_format)
    assert find_stages(model) == [
        f'backbone.layer{i + 1}' for i in range(len(SHAPES[name]))
    ]
    x = torch.rand(2, 3, 32, 32).to(memory_format=memory_format)
    last = model.backbone(x)
    assert isinstance(last, tuple) and len(last) == 1
    assert model.head(model.neck(last)).shape == (2, 100)
    # All of the network is behind the loss, and gets a gradient.
    last[0].square().sum().backward()
    assert [n for n, p in model.backbone.named_parameters()
            if p.grad is None] == []

    # Each stage, as out_indices gives it, is the output of its module.
    taps = {}
    for i in range(len(SHAPES[name])):
        module = getattr(model.backbone, f'layer{i + 1}')
        module.register_forward_hook(
            lambda _, args, out, i=i: taps.update({i: out}))
    model.backbone.eval()
    for indices in ((0, ), (1, 2), range(len(SHAPES[name]))):
        model.backbone.out_indices = tuple(indices)
        with torch.no_grad():
            outs = model.backbone(x)
        assert [tuple(out.shape) for out in outs
                ] == [(2, channels, side, side)
                      for channels, side in (SHAPES[name][i] for i in indices)]
        for i, out in zip(indices, outs):
            assert torch.equal(out, taps[i])


@pytest.mark.parametrize('type, options, num_stages', [
    ('CIFARResNet', dict(depth=8), 3),
    ('WideResNet', dict(depth=10, widen_factor=1), 3),
    ('CIFARVGG', dict(depth=8), 4),
    ('CIFARMobileNetV2', {}, 4),
    ('CIFARShuffleNetV1', {}, 3),
    ('CIFARShuffleNetV2', {}, 3),
])
def test_out_indices(type, options, num_stages):
    build = MODELS.get(type)
    assert build(**options).out_indices == (num_stages - 1, )
    assert build(
        out_indices=(-1, 0), **options).out_indices == (0, num_stages - 1)
    for indices in ((), (num_stages, ), (0, -num_stages - 1)):
        with pytest.raises(
                ValueError,
                match=f'{type} must name at least one of its '
                f'{num_stages} stages'):
            build(out_indices=indices, **options)


@pytest.mark.parametrize('name, is_kaiming', [('resnet32x4', True),
                                              ('wrn_40_2', True),
                                              ('vgg13', True),
                                              ('MobileNetV2', True),
                                              ('ShuffleV1', False),
                                              ('ShuffleV2', False)])
def test_initialisation(name, is_kaiming, zoo):
    """Kaiming's for the fan-out, a normal distribution; of the ShuffleNets
    PyTorch's own, a uniform one for the fan-in."""
    model = _build(zoo(name))
    model.init_weights()
    for path, module in model.backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        if not isinstance(module, nn.Conv2d) or module.weight.numel() < 4000:
            continue
        weight = module.weight.detach()
        area = weight[0, 0].numel()
        if is_kaiming:
            std = (2 / (module.out_channels * area))**0.5
            assert weight.abs().max() > 3 * std, path
        else:
            bound = (module.groups / (module.in_channels * area))**0.5
            std = bound / 3**0.5
            assert weight.abs().max() <= bound, path
        assert weight.std() == pytest.approx(std, rel=0.1), path
        if module.bias is not None:
            assert (module.bias == 0).all()


@pytest.mark.parametrize('teacher, student', PAIRS)
def test_pairs_of_the_literature(teacher, student, zoo, tmp_path):
    """``stages='auto'`` pairs them, and a distillation can begin."""
    checkpoint = str(tmp_path / 'teacher.pth')
    torch.save(_build(zoo(teacher)).state_dict(), checkpoint)
    distiller = _build(
        dict(
            type='StageByStageDistiller',
            student=zoo(student),
            teacher=dict(cfg=zoo(teacher), checkpoint=checkpoint)))
    data = dict(inputs=torch.rand(2, 3, 32, 32) * 255)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        distiller.prepare(data)
    shapes = distiller.comparison.tap_shapes
    assert list(shapes) == [f'layer{i + 1}' for i in range(len(shapes))]
    for (s, t), in shapes.values():
        assert s[1] == s[2] and t[1] == t[2]
        assert t[1] / s[1] in (1, 2), 'of about the same resolution'
    # Nothing of the backbone is left for the head.
    behind = distiller.partition.params[HEAD]
    assert behind == ['head.fc.weight', 'head.fc.bias']


def test_without_mmpretrain(cifar):
    """Importing sskd_mm does not import mmpretrain, nor do its networks and
    its data."""
    code = ('import sys; sys.modules["mmpretrain"] = None\n'
            'import sskd_mm, torch\n'
            f'sskd_mm.datasets.CIFARInMemory({str(cifar)!r})\n'
            'from mmengine.registry import MODELS\n'
            'net = MODELS.build(dict(type="CIFARResNet", depth=8))\n'
            'net.init_weights()\n'
            'print(*net(torch.rand(1, 3, 32, 32))[0].shape)')
    result = subprocess.run([sys.executable, '-c', code],
                            capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-4:] == ['1', '64', '8', '8']
