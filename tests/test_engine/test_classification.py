# Copyright (c) sskd_mm authors. All rights reserved.
"""Classifiers of mmpretrain run all phases."""
import copy
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.distillers.teachers import TeacherFeatures, Teachers

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
WIDE = dict(RESNET, base_channels=6, stem_channels=6)
VIT = dict(
    type='VisionTransformer',
    img_size=32,
    patch_size=8,
    arch=dict(
        embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=16))
NARROW_VIT = copy.deepcopy(VIT)
NARROW_VIT['arch']['embed_dims'] = 8
LAYERS = [f'backbone.layers.{i}' for i in range(4)]
# Its blocks output (N, H, W, C).
SAM = dict(
    type='ViTSAM',
    img_size=32,
    patch_size=8,
    window_size=2,
    out_channels=0,
    arch=dict(
        embed_dims=16,
        num_layers=4,
        num_heads=2,
        feedforward_channels=16,
        global_attn_indexes=[3]))
NARROW_SAM = copy.deepcopy(SAM)
# As many channels as rows and columns.
NARROW_SAM['arch']['embed_dims'] = 4
# Its first blocks output (N, L, H, W, C).
HIVIT = dict(
    type='HiViT',
    img_size=32,
    arch=dict(embed_dims=32, depths=[1, 1, 8], num_heads=2),
    out_indices=[7])
CELLS = [f'backbone.blocks.{i}' for i in (1, 3, 7)]


@pytest.fixture
def distill(classifier_cfg, tmp_path):
    """Distils one network from another; returns the runner."""

    def run(student, teacher, schedule='sequential', **model):
        cfg = classifier_cfg(tmp_path, *student)
        # With a larger one a transformer may diverge.
        cfg.optim_wrapper.optimizer.lr = 0.01
        teacher = classifier_cfg(tmp_path, *teacher)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(0)
            network = MODELS.build(copy.deepcopy(teacher.model))
            network.init_weights()
        path = str(tmp_path / 'teacher.pth')
        torch.save(dict(state_dict=network.state_dict()), path)
        cfg.model = dict(
            type='StageByStageDistiller',
            student=cfg.model,
            teacher=dict(cfg=teacher.model.to_dict(), checkpoint=path),
            **model)
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            schedule=schedule,
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return run


@pytest.mark.parametrize('student, teacher, options, shapes', [
    # Convolutional, of different widths.
    ((RESNET, 32), (WIDE, 48), dict(), {
        'layer1': [((4, 32, 32), (6, 32, 32))],
        'layer2': [((8, 16, 16), (12, 16, 16))],
        'layer3': [((16, 8, 8), (24, 8, 8))],
        'layer4': [((32, 4, 4), (48, 4, 4))]
    }),
    # Transformers with equally many tokens, including the class token.
    ((NARROW_VIT, 8, None), (VIT, 16, None), dict(), {
        f'layers.{i}': [((17, 8), (17, 16))]
        for i in range(4)
    }),
    # A transformer teaches a convolutional network.
    ((RESNET, 32), (VIT, 16, None),
     dict(stages=[
         dict(student=f'backbone.layer{i + 1}', teacher=path)
         for i, path in enumerate(LAYERS)
     ]), {
         'layer1': [((4, 32, 32), (16, 4, 4))],
         'layer2': [((8, 16, 16), (16, 4, 4))],
         'layer3': [((16, 8, 8), (16, 4, 4))],
         'layer4': [((32, 4, 4), (16, 4, 4))]
     }),
    # The other way round.
    ((VIT, 16, None), (RESNET, 32),
     dict(stages=[dict(student=LAYERS[3], teacher='backbone.layer4')]), {
         'layers.3': [((16, 4, 4), (32, 4, 4))]
     }),
    # Channels last, with a convolutional teacher.
    ((NARROW_SAM, 4), (SAM, 16), dict(), {
        f'layers.{i}': [((4, 4, 4), (16, 4, 4))]
        for i in range(4)
    }),
    ((SAM, 16), (RESNET, 32),
     dict(stages=[dict(student=LAYERS[3], teacher='backbone.layer4')]), {
         'layers.3': [((16, 4, 4), (32, 4, 4))]
     }),
    # With tokens.
    ((VIT, 16, None), (SAM, 16),
     dict(stages=[LAYERS[3]]), {
         'layers.3': [((16, 4, 4), (16, 4, 4))]
     }),
    # With cells in windows.
    ((HIVIT, 32), (RESNET, 32),
     dict(stages=[
         dict(student=tap, teacher=f'backbone.layer{i}')
         for tap, i in zip(CELLS, (2, 3, 4))
     ]), {
         'blocks.1': [((8, 8, 8), (8, 16, 16))],
         'blocks.3': [((16, 4, 4), (16, 8, 8))],
         'blocks.7': [((32, 2, 2), (32, 4, 4))]
     }),
])
def test_all_phases(distill, student, teacher, options, shapes, tmp_path,
                    classifier_cfg):
    runner = distill(student, teacher, **options)
    distiller = runner.train_loop.distiller
    assert distiller.comparison.tap_shapes == shapes
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [p['name'] for p in result['phases']
            ] == [f'mimic/{name}' for name in shapes] + ['head']
    for phase in result['phases'][:-1]:
        (figures, ) = phase['alignment'].values()
        assert 0 <= figures['cka'] <= 1 + 1e-6
        assert -1 <= figures['cosine'] <= 1
    # It is the plain student, and scores the same.
    plain = classifier_cfg(tmp_path / 'plain', *student)
    plain.load_from = (tmp_path / 'last_checkpoint').read_text()
    plain.test_dataloader = plain.val_dataloader
    plain.test_cfg, plain.test_evaluator = dict(), plain.val_evaluator
    metrics = Runner.from_cfg(plain).test()
    assert metrics['accuracy/top1'] == pytest.approx(
        result['student']['accuracy/top1'])


def test_a_tap_in_the_head(distill, monkeypatch):
    """The backbone mimics the teacher's logits through the inherited head,
    which is frozen until its own phase."""
    stages = ['auto', 'neck', 'head.fc']
    student, teacher = ((network, 32) for network in (RESNET, RESNET))
    with pytest.raises(ValueError, match='head.fc.bias.*would not start'):
        distill(student, teacher, 'last', stages=stages)
    with pytest.raises(ValueError, match="leaves out the tap 'fc'"):
        distill(student, teacher, 'joint', stages=stages)
    runner = distill(
        student, teacher, ['joint', 'last'], stages=stages, inherit=['head'])
    distiller = runner.train_loop.distiller
    joint, last, head = runner.train_loop.phases
    assert joint.taps == ('layer1', 'layer2', 'layer3', 'layer4', 'neck')
    assert last.taps == ('fc', )
    assert distiller.partition.params['head'] == [
        'head.fc.weight', 'head.fc.bias'
    ]
    # The engine asserted before that the head was bit-equal.
    result = json.loads(
        (Path(runner.work_dir) / 'result.json').read_text())['phases']
    assert list(result[1]['alignment']) == ['fc']
    # By hand: the gradient passes the frozen head and reaches the first
    # weights.
    inputs = torch.rand(2, 3, 32, 32)
    weight = distiller.student.backbone.conv1.weight
    target = torch.rand(2, 10)
    monkeypatch.setattr(
        Teachers, 'teach', lambda *_:
        [TeacherFeatures({'head.fc': (target, )}, (32, 32))])
    distiller.enter_phase(last)
    loss = distiller(inputs, mode='loss')['loss_mimic_fc']
    loss.backward()
    expected = F.mse_loss(distiller.student(inputs), target)
    assert torch.allclose(loss, expected)
    assert weight.grad.abs().sum() > 0
    assert distiller.student.head.fc.weight.grad is None


def test_blockwise_before_a_tap_in_the_head(distill):
    runner = distill((RESNET, 32), (RESNET, 32), ['blockwise', 'last'],
                     stages=['auto', 'neck', 'head.fc'],
                     inherit=['head'])
    # The phase's last stage feeds no other.
    assert list(runner.train_loop.distiller.feeders) == [
        'layer1', 'layer2', 'layer3', 'layer4'
    ]


def test_blockwise_with_tokens(distill):
    """A convolutional student is fed with a transformer's positions; a student
    of tokens cannot be fed with a map."""
    stages = [
        dict(student=f'backbone.layer{i + 1}', teacher=path)
        for i, path in enumerate(LAYERS)
    ]
    runner = distill((RESNET, 32), (VIT, 16, None),
                     schedule='blockwise',
                     stages=stages)
    assert len(runner.train_loop.distiller.feeders) == 3
    stages = [
        dict(student=stage['teacher'], teacher=stage['student'])
        for stage in stages
    ]
    with pytest.raises(ValueError, match='no tokens of the student'):
        distill((VIT, 16, None), (RESNET, 32),
                schedule='blockwise',
                stages=stages)


@pytest.mark.parametrize('student, teacher, stages', [
    ((NARROW_SAM, 4), (SAM, 16), LAYERS),
    ((NARROW_SAM, 4), (RESNET, 32), [
        dict(student=path, teacher=f'backbone.layer{i + 1}')
        for i, path in enumerate(LAYERS)
    ]),
    ((HIVIT, 32), (HIVIT, 32), CELLS),
])
def test_blockwise_feeds_a_student_s_own_layout(distill, student, teacher,
                                                stages):
    runner = distill(student, teacher, 'blockwise', stages=stages)
    assert len(runner.train_loop.distiller.feeders) == len(stages) - 1


def test_off_is_plain_mmpretrain(classifier_cfg, tmp_path):
    """In a plain loop the distiller equals the plain classifier in losses,
    weights and checkpoint, number for number."""
    logs, weights = [], []
    for name in ('plain', 'distiller'):
        cfg = classifier_cfg(tmp_path / name, RESNET, 32)
        cfg.train_cfg.max_epochs = 4  # 12 iterations
        if name == 'distiller':
            cfg.model = dict(
                type='StageByStageDistiller',
                student=cfg.model,
                teacher=dict(cfg='none.py', checkpoint='none.pth'))
        cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
        runner = Runner.from_cfg(cfg)
        runner.train()
        scalars = runner.message_hub.log_scalars
        logs.append({
            key: scalars[f'train/{key}'].data[0].tolist()
            for key in ('loss', 'lr')
        })
        weights.append(
            torch.load(
                tmp_path / name / 'epoch_4.pth',
                weights_only=False)['state_dict'])
    assert len(logs[0]['loss']) == 12
    assert logs[0] == logs[1]
    assert list(weights[0]) == list(weights[1])
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key
