# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from sskd_mm.stages import Stage, StagePartition, parse_stages


def _detector(**backbone):
    cfg = ConfigDict(
        type='RetinaNet',
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=8,
            stem_channels=8,
            frozen_stages=-1,
            norm_eval=False,
            **backbone),
        neck=dict(
            type='FPN',
            in_channels=[8, 16, 32, 64],
            out_channels=8,
            num_outs=5),
        bbox_head=dict(
            type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8))
    return MODELS.build(cfg)


@pytest.fixture
def partition(in_mmdet):
    student = _detector()
    stages = parse_stages('auto', student, [student])
    return StagePartition(student, stages, torch.rand(1, 3, 64, 64))


def test_every_parameter_has_one_stage(partition):
    names = [n for params in partition.params.values() for n in params]
    assert sorted(names) == sorted(
        n for n, _ in partition.student.named_parameters())


def test_stages_of_a_resnet_with_fpn(partition):
    prefixes = {
        'layer1': ('backbone.conv1', 'backbone.bn1', 'backbone.layer1'),
        'layer2': ('backbone.layer2', ),
        'layer3': ('backbone.layer3', ),
        'layer4': ('backbone.layer4', ),
        'neck': ('neck', ),
        'head': ('bbox_head', ),
    }
    assert list(partition.params) == list(prefixes)
    for stage, params in partition.params.items():
        assert params and all(n.startswith(prefixes[stage]) for n in params)


def test_tracing_leaves_no_trace(in_mmdet):
    student = _detector()
    student.train()
    before = {k: v.clone() for k, v in student.state_dict().items()}
    grads = [p.requires_grad for p in student.parameters()]
    StagePartition(student, parse_stages('auto', student, [student]),
                   torch.rand(1, 3, 64, 64))
    assert [p.requires_grad for p in student.parameters()] == grads
    assert all(m.training for m in student.modules())
    assert all(
        torch.equal(v, before[k]) for k, v in student.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks
                   for m in student.modules())


def test_only_the_stage_trains(partition):
    student = partition.student
    partition.set_requires_grad(['layer2'])
    trainable = [n for n, p in student.named_parameters() if p.requires_grad]
    assert trainable == partition.params['layer2']
    student.train()
    partition.set_mode(['layer2'])
    for name, module in student.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == name.startswith('backbone.layer2'), name
    assert student.training and student.backbone.training
    assert not student.neck.training and not student.backbone.layer1.training
    assert partition.count(['layer2']) == sum(
        p.numel() for p in student.backbone.layer2.parameters())


def test_config_has_the_last_word_on_what_trains(in_mmdet):
    student = _detector()
    student.backbone.norm_eval = True
    student.backbone.layer2[0].conv1.weight.requires_grad_(False)
    stages = parse_stages('auto', student, [student])
    partition = StagePartition(student, stages, torch.rand(1, 3, 64, 64))
    partition.set_requires_grad(['layer2'])
    assert not student.backbone.layer2[0].conv1.weight.requires_grad
    assert student.backbone.layer2[0].conv2.weight.requires_grad
    student.train()
    partition.set_mode(['layer2'])
    assert not student.backbone.layer2[0].bn1.training


def test_order_of_execution(in_mmdet):
    student = _detector()
    stages = parse_stages(['backbone.layer2', 'backbone.layer1'], student,
                          [student])
    with pytest.raises(ValueError, match='Write them in that order'):
        StagePartition(student, stages, torch.rand(1, 3, 64, 64))


class Net(nn.Module):
    """For the rules on modules without weights."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False),
            nn.Dropout(0.5))
        self.side = nn.Conv2d(4, 4, 1)
        self.two = nn.Sequential(
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False),
            nn.Dropout(0.5))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x = self.one(inputs)
        self.side(x)  # runs before the second tap, which does not depend on it
        return self.two(x)


def test_modules_without_weights_go_by_when_they_run():
    net = Net()
    partition = StagePartition(
        net, [Stage('one', 'one', ('one', )),
              Stage('two', 'two', ('two', ))], torch.rand(2, 3, 8, 8))
    assert partition.params == {
        'one': ['one.0.weight', 'one.0.bias'],
        'two': ['two.0.weight', 'two.0.bias'],
        'head': ['side.weight', 'side.bias']
    }
    for stage, frozen in (('one', 'two'), ('two', 'one')):
        net.train()
        partition.set_mode([stage])
        assert all(m.training for m in getattr(net, stage).modules())
        assert not any(m.training for m in getattr(net, frozen).modules())
        assert not net.side.training


def test_stage_without_parameters():
    net = Net()
    net.two = nn.AdaptiveAvgPool2d(1)
    partition = StagePartition(
        net, [Stage('one', 'one', ('one', )),
              Stage('two', 'two', ('two', ))], torch.rand(2, 3, 8, 8))
    assert partition.params['two'] == []
    assert partition.features['two'][0].shape == (2, 4, 1, 1)
    assert partition.trainable(['one', 'two']) == partition.trainable(['one'])


class Biased(nn.Module):
    """Attention that caches its biases for evaluation, like LeViT's."""

    def __init__(self):
        super().__init__()
        self.biases = nn.Parameter(torch.zeros(1))
        self.conv = nn.Conv2d(3, 3, 3)

    def train(self, mode=True):
        super().train(mode)
        if mode:
            self.kept = None
        else:
            self.kept = self.biases.detach().clone()
        return self

    def forward(self, x):
        return self.conv(x) + (self.biases if self.training else self.kept)


def test_what_is_read_in_training_only():
    net = nn.Module()
    net.one, net.two, net.unused = Biased(), Biased(), nn.Conv2d(3, 3, 1)
    net.forward = lambda x, samples=None, mode='tensor': net.two(net.one(x))
    partition = StagePartition(
        net, [Stage('one', 'one', ('one', )),
              Stage('two', 'two', ('two', ))], torch.rand(2, 3, 8, 8))
    assert partition.params == {
        'one': ['one.biases', 'one.conv.weight', 'one.conv.bias'],
        'two': ['two.biases', 'two.conv.weight', 'two.conv.bias'],
        'head': ['unused.weight', 'unused.bias']
    }
    net.train()
    net.one.biases.data.fill_(1)
    partition.set_mode(['two'])
    assert net.two.training and not net.one.training
    assert net.one.kept == 1, 'evaluated with what was kept before'


def test_what_a_network_has_of_its_own_for_its_head():
    """A parameter beside a single stage, like DINO's level embedding."""
    net = nn.Module()
    net.neck, net.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 3)
    net.embedding = nn.Parameter(torch.zeros(3))
    net.forward = lambda x, samples=None, mode='tensor': net.neck(x)
    partition = StagePartition(net, [Stage('neck', 'neck', ('neck', ))],
                               torch.rand(1, 3, 8, 8))
    assert partition.params == {
        'neck': ['neck.weight', 'neck.bias'],
        'head': ['embedding', 'head.weight', 'head.bias']
    }
    net.train()
    partition.set_mode(['head'])
    assert net.training and not net.neck.training


def test_levels_that_no_teacher_has():
    net = nn.Module()
    net.neck = nn.Module()
    net.neck.one, net.neck.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def neck(x):
        x = net.neck.one(x)
        return x, net.neck.two(x)

    net.neck.forward = neck
    net.forward = lambda x, samples=None, mode='tensor': net.neck(x)
    partition = StagePartition(
        net, [Stage('neck', 'neck', ('neck', ))],
        torch.rand(1, 3, 8, 8),
        compared=lambda stage, features: [0])
    assert partition.params == {
        'neck': ['neck.one.weight', 'neck.one.bias'],
        'head': ['neck.two.weight', 'neck.two.bias']
    }
    assert len(partition.features['neck']) == 2


def test_fingerprint_sees_one_bit(partition):
    before = partition.fingerprint(['layer2'])
    backbone = partition.student.backbone
    with torch.no_grad():
        backbone.layer2[0].conv1.weight += 1
        backbone.layer2[0].bn1.running_mean += 1
    assert partition.fingerprint(['layer2']) == before
    with torch.no_grad():
        backbone.layer3[0].bn1.running_mean[0] += 1e-7
    changed = partition.fingerprint(['layer2'])
    assert [k for k in before if before[k] != changed[k]
            ] == ['backbone.layer3.0.bn1.running_mean']


@pytest.mark.parametrize('taps', ['auto', ['backbone.layer1.0', 'neck']])
def test_gradient_checkpointing_hides_no_parameters(in_mmdet, taps):
    found = []
    for with_cp in (False, True):
        student = _detector(with_cp=with_cp)
        stages = parse_stages(taps, student, [student])
        partition = StagePartition(student, stages, torch.rand(1, 3, 64, 64))
        found.append(partition.params)
    assert found[0] == found[1]


def test_tap_within_a_checkpointed_block(in_mmdet):
    student = _detector(with_cp=True)
    stages = parse_stages(['backbone.layer2.1.conv1', 'neck'], student,
                          [student])
    with pytest.raises(ValueError, match=r"'backbone.layer2.1.conv1' is "
                       'inside .* Tap the block around it'):
        StagePartition(student, stages, torch.rand(1, 3, 64, 64))
    # PyTorch's own class is restored.
    assert issubclass(torch.utils.checkpoint.CheckpointFunction,
                      torch.autograd.Function)
