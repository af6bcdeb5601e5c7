# Copyright (c) sskd_mm authors. All rights reserved.
"""Networks for face recognition."""
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.models import IResNet, MobileFaceNet
from sskd_mm.stages import HEAD, Stage, StagePartition, find_stages

MAPS = [(64, 56), (128, 28), (256, 14), (512, 7)]
MOBILE_MAPS = [(128, 56), (128, 28), (256, 14), (512, 7)]
# The number of parameters that insightface's arcface_torch has; 24.0 M, 34.1
# M, 43.6 M, 65.2 M and 2.06 M in tables.
NETWORKS = [
    (dict(type='IResNet', depth=18), 24025600, MAPS),
    (dict(type='IResNet', depth=34), 34139328, MAPS),
    (dict(type='IResNet', depth=50), 43590848, MAPS),
    (dict(type='IResNet', depth=100), 65156160, MAPS),
    (dict(type='MobileFaceNet'), 2059520, MOBILE_MAPS),
    (dict(type='MobileFaceNet', blocks=(2, 8, 12, 4),
          scale=4), 6314880, [(256, 56), (256, 28), (512, 14), (512, 7)]),
]
EMBEDDING = [f'backbone.layer{i}' for i in range(1, 5)] + ['backbone.features']


def _classifier(backbone):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=backbone,
                head=dict(type='ArcFaceHead', num_classes=3)))


@pytest.mark.parametrize('backbone, count, maps', NETWORKS)
def test_parameters(backbone, count, maps):
    with torch.device('meta'):
        network = MODELS.build(backbone)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize('backbone, count, maps', NETWORKS[::4])
def test_stages(backbone, count, maps):
    """Those that are found, and the embedding as a last one."""
    model = _classifier(backbone).eval()
    assert find_stages(model) == EMBEDDING[:-1]
    stages = [Stage(path.split('.')[1], path, ()) for path in EMBEDDING]
    inputs = torch.rand(2, 3, 112, 112)
    partition = StagePartition(model, stages, inputs)
    shapes = [f.shape for f, in partition.features.values()]
    assert shapes == [(2, c, side, side) for c, side in maps] + [(2, 512)]
    assert partition.params[HEAD] == ['head.fc.weight']
    with torch.no_grad():
        (embedding, ) = model.extract_feat(inputs)
    torch.testing.assert_close(embedding,
                               partition.features['features'][0].detach())


@pytest.mark.parametrize('backbone', [
    dict(type='IResNet', depth=18, input_size=32, embedding=8),
    dict(type='MobileFaceNet', input_size=32, embedding=8)
])
def test_other_sizes(backbone):
    """Every parameter trains but for the scale of an IResNet's embedding;
    the embedding is in float32 under mixed precision."""
    torch.manual_seed(0)
    network = MODELS.build(backbone)
    network.init_weights()
    with torch.autocast('cpu', torch.bfloat16):
        (embedding, ) = network(torch.randn(4, 3, 32, 32))
    assert embedding.shape == (4, 8) and embedding.dtype == torch.float32
    embedding.square().sum().backward()
    for name, param in network.named_parameters():
        if type(network) is IResNet and name == 'features.weight':
            assert param.grad is None and torch.equal(param, torch.ones(8))
        else:
            assert torch.isfinite(param.grad).all(), name


def test_initialisation():
    """As insightface's: deviation 0.1 of an IResNet's convolutions, Kaiming's
    by outputs of a MobileFaceNet's."""
    torch.manual_seed(0)
    network = IResNet(18)
    network.init_weights()
    for conv in (network.conv1, network.layer3[0].conv1,
                 network.layer4[0].downsample[0]):
        deviation = float(conv.weight.detach().std())
        assert deviation == pytest.approx(0.1, rel=0.05)
    network = MobileFaceNet()
    network.init_weights()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.weight.detach()
            if weight.numel() < 10000:
                continue
            fan_out = weight.numel() / weight.shape[1]
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                # Its kernel's inputs are those of one group.
                fan_out = weight.shape[0] * weight[0, 0].numel()
            assert float(
                weight.std()) == pytest.approx((2 / fan_out)**0.5, rel=0.05)


@pytest.mark.parametrize('backbone, message', [
    (dict(type='IResNet', depth=101), 'it must be one of 18, 34, 50, 100'),
    (dict(type='IResNet', depth=18, input_size=100), 'multiple of 16'),
    (dict(type='MobileFaceNet', input_size=100), 'multiple of 16'),
    (dict(type='MobileFaceNet', blocks=(1, 4, 6)), 'must be four'),
    (dict(type='MobileFaceNet', blocks=(0, 4, 6, 2)), 'must be four'),
])
def test_what_is_not_there(backbone, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(backbone)


@pytest.mark.parametrize('size', [(16, 32), (48, 48), (32, 64), (112, 112)])
@pytest.mark.parametrize('backbone', [
    dict(type='IResNet', depth=18, input_size=32),
    dict(type='MobileFaceNet', input_size=32)
])
def test_images_of_another_size(backbone, size):
    network = MODELS.build(backbone).eval()
    height, width = size
    with pytest.raises(
            ValueError, match=f'input_size=32, .* {height} x {width} pixels'):
        network(torch.zeros(2, 3, *size))
    network(torch.zeros(2, 3, 32, 32))
