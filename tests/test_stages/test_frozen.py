# Copyright (c) sskd_mm authors. All rights reserved.
"""Students whose config freezes stages, as most of mmdet's do."""
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from sskd_mm.stages import StagePartition, parse_stages

FPN = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4)
RESNET = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
SWIN = dict(
    type='SwinTransformer', embed_dims=8, depths=[1] * 4, num_heads=[1] * 4)


class Detector(nn.Module):

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(FPN)
        self.train()  # before which a Swin freezes nothing

    def forward(self, x, data_samples=None, mode='tensor'):
        return self.neck(self.backbone(x))


@pytest.mark.parametrize('backbone, frozen, thawed', [
    (dict(RESNET, frozen_stages=1, norm_eval=True), 'backbone.layer1',
     'frozen_stages=-1, norm_eval=False'),
    (dict(RESNET, frozen_stages=2, norm_eval=False),
     'backbone.layer1, backbone.layer2', 'frozen_stages=-1'),
    (dict(SWIN, frozen_stages=1), 'backbone.stages.0.blocks.0',
     'frozen_stages=-1'),
])
def test_auto_leaves_out_what_is_frozen(in_mmdet, logged, backbone, frozen,
                                        thawed):
    """And names all keys at once by which the whole student is distilled."""
    student = Detector(backbone)
    teacher = Detector(dict(backbone, frozen_stages=4))
    stages = parse_stages('auto', student, [teacher])
    advice = f'_base_.model.backbone.update({thawed})'
    assert f"'auto' leaves out {frozen}, which" in logged.text
    assert advice in logged.text
    paths = [stage.student for stage in stages]
    partition = StagePartition(student, stages, torch.rand(1, 3, 64, 64))
    assert all(partition.trainable([stage.name]) for stage in stages)

    for path in frozen.split(', '):
        assert path not in paths
        with pytest.raises(ValueError, match='has nothing to train') as error:
            StagePartition(student, parse_stages([path], student, [student]),
                           torch.rand(1, 3, 64, 64))
        assert advice in str(error.value)

    # What the advice says does it.
    settings = eval(f'dict({thawed})')
    student = Detector({**backbone, **settings})
    assert len(parse_stages('auto', student, [teacher])) == 5
    assert all(m.training for m in student.modules())


def test_all_stages_frozen(in_mmdet):
    student = Detector(dict(RESNET, frozen_stages=4, norm_eval=True))
    student.neck.requires_grad_(False)
    with pytest.raises(
            ValueError, match=r'freezes all of its .*layer4, neck.*=-1, norm'):
        parse_stages('auto', student, [student])


def test_a_value_that_freezes_nothing(in_mmdet):
    """Which mmdet's EfficientNet has otherwise; it refuses -1."""
    student = nn.Module()
    student.backbone = MODELS.build(
        dict(type='EfficientNet', arch='b0', frozen_stages=7))
    student.train()
    with pytest.raises(ValueError, match=r'update\(frozen_stages=0\)'):
        parse_stages('auto', student, [student])


def test_frozen_by_code(in_mmdet):
    student = Detector(dict(RESNET, frozen_stages=-1, norm_eval=False))
    del student.backbone.frozen_stages
    student.requires_grad_(False)
    with pytest.raises(ValueError, match='requires_grad=True where its code'):
        parse_stages('auto', student, [student])
