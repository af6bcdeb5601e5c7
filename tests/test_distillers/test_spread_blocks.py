# Copyright (c) sskd_mm authors. All rights reserved.
"""Which of the teacher's blocks a shallower student starts from."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.distillers import spread_blocks


def wrap(**parts):
    """A network of these modules."""
    model = nn.Module()
    for name, part in parts.items():
        model.add_module(name, part)
    return model


def block(width=3):
    return nn.Sequential(nn.Linear(width, width), nn.ReLU())


@pytest.mark.parametrize('depths, chosen', [
    ((34, 18), dict(layer1=[0, 1], layer2=[0, 2], layer3=[0, 3],
                    layer4=[0, 1])),
    ((101, 50), dict(layer3=[0, 3, 7, 11, 15, 19])),
    ((50, 18), dict()),  # of another kind
    ((50, 50), dict()),
    ((18, 34), dict()),
])
def test_resnets(in_mmdet, depths, chosen):
    with torch.device('meta'):
        teacher, student = (
            wrap(backbone=MODELS.build(dict(type='ResNet', depth=depth)))
            for depth in depths)
    assert spread_blocks(student, teacher) == {
        f'backbone.{layer}.{i}': f'backbone.{layer}.{taught}'
        for layer, blocks in chosen.items() for i, taught in enumerate(blocks)
    }


@pytest.mark.parametrize('name, make, spread', [
    ('backbone', lambda n: nn.ModuleList(block() for _ in range(n)), True),
    # Its indices are levels, not consecutive blocks.
    ('neck', lambda n: nn.ModuleList(block() for _ in range(n)), False),
    # Each has more inputs than the previous one.
    ('backbone', lambda n: nn.ModuleList(block(i + 1) for i in range(n)),
     False),
    # A plain network has layers, not blocks.
    ('backbone', lambda n: nn.Sequential(
        *(nn.Linear(3, 3) for _ in range(n))), False),
])
def test_other_lists(name, make, spread):
    found = spread_blocks(
        wrap(**{name: wrap(layers=make(2))}),
        wrap(**{name: wrap(layers=make(5))}))
    assert found == ({
        'backbone.layers.0': 'backbone.layers.0',
        'backbone.layers.1': 'backbone.layers.2'
    } if spread else {})


def test_a_student_starts_from_them(root, tmp_path):
    """ResNet-56 has nine blocks per stage, ResNet-20 three."""
    cfg = Config.fromfile(
        root / 'configs/sskd/cifar10/resnet56_resnet20_cifar10.py')
    cfg.model.teacher.checkpoint = str(tmp_path / 'teacher.pth')
    cfg.model.data_preprocessor = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        taught = MODELS.build(Config.fromfile(cfg.model.teacher.cfg).model)
        torch.save(taught.state_dict(), cfg.model.teacher.checkpoint)
        distiller = MODELS.build(cfg.model)
        distiller.prepare(dict(inputs=torch.rand(2, 3, 32, 32)))
    distiller.inherit_weights()
    teacher = distiller.teachers[0].model.backbone
    for layer in ('layer1', 'layer2', 'layer3'):
        for own, taught in ((0, 0), (1, 3), (2, 6)):
            expected = getattr(teacher, layer)[taught].state_dict()
            found = getattr(distiller.student.backbone,
                            layer)[own].state_dict()
            for key, value in expected.items():
                assert torch.equal(found[key], value), (layer, own, key)
    assert torch.equal(distiller.student.backbone.conv1.weight,
                       teacher.conv1.weight)
