# Copyright (c) sskd_mm authors. All rights reserved.
"""A phase's optimizer is the one of the plain model."""
import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

from sskd_mm.engine.build_optimizer import build_optimizer
from sskd_mm.stages import Phase, plan_phases

LR = 1e-3
SMALL = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
BACKBONES = dict(
    vit=dict(type='VisionTransformer', arch=SMALL, img_size=32, patch_size=8),
    beit=dict(
        type='BEiTViT',
        arch=SMALL,
        img_size=32,
        patch_size=8,
        out_type='avg_featmap'),
    convnext=dict(
        type='ConvNeXt',
        arch=dict(depths=[1, 1, 3, 1], channels=[8, 8, 16, 16])))
TAPS = dict(
    vit=['backbone.layers.1', 'backbone.layers.3'],
    beit=['backbone.layers.1', 'backbone.layers.3'],
    convnext=['backbone.stages.1', 'backbone.stages.3'])
DECAY = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.5,
        norm_decay_mult=0.,
        custom_keys={'.cls_token': dict(decay_mult=0.5)}))
DETECTORS = dict(
    constructor='mmdet.LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(
        decay_rate=0.5, decay_type='layer_wise', num_layers=6))
STAGEWISE = copy.deepcopy(DETECTORS)
STAGEWISE['paramwise_cfg']['decay_type'] = 'stage_wise'
CUSTOM = dict(
    paramwise_cfg=dict(
        bias_lr_mult=2.,
        custom_keys={
            'backbone.layers.2': dict(lr_mult=0.1, decay_mult=0.),
            'head': dict(lr_mult=10.)
        }))


def model_cfg(name):
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(mean=[0.] * 3, std=[255.] * 3),
        backbone=BACKBONES[name],
        head=dict(type='LinearClsHead', num_classes=3, in_channels=16))


def optim_cfg(options):
    return dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=LR, weight_decay=0.05),
        **copy.deepcopy(options))


def settings_of(optimizer, model):
    """Learning rate and decay of each parameter, by name."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names.get(id(p)): (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups for p in group['params']
    }


@pytest.fixture
def make(tmp_path):
    """Returns a function that makes a distiller of one of these backbones,
    with a teacher twice as wide, and the plain student."""

    def make(name):
        cfg = model_cfg(name)
        teacher = copy.deepcopy(cfg)
        arch = teacher['backbone']['arch']
        arch.update({
            key: [2 * x for x in arch[key]]
            if isinstance(arch[key], list) else 2 * arch[key]
            for key in ('embed_dims', 'channels') if key in arch
        })
        teacher['head']['in_channels'] = 32
        torch.save(
            dict(state_dict=MODELS.build(copy.deepcopy(teacher)).state_dict()),
            tmp_path / 'teacher.pth')
        distiller = MODELS.build(
            dict(
                type='StageByStageDistiller',
                student=copy.deepcopy(cfg),
                teacher=dict(
                    cfg=teacher, checkpoint=str(tmp_path / 'teacher.pth')),
                stages=TAPS[name]))
        distiller.prepare(
            dict(
                inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)] * 2,
                data_samples=[DataSample().set_gt_label(i) for i in (0, 1)]))
        return distiller, MODELS.build(cfg)

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield make


@pytest.mark.parametrize('name, options', [
    ('vit', DECAY),
    ('beit', DECAY),
    ('vit', CUSTOM),
    ('convnext', DETECTORS),
    ('convnext', STAGEWISE),
    ('convnext', {}),
])
def test_rates_of_the_plain_model(make, name, options):
    """In each phase, for the parameters that train in it."""
    distiller, plain = make(name)
    cfg = optim_cfg(options)
    expected = settings_of(
        build_optim_wrapper(plain, copy.deepcopy(cfg)).optimizer, plain)
    frozen = {n for n, p in plain.named_parameters() if not p.requires_grad}
    rates = {rate for rate, _ in expected.values()}
    if options is DECAY:
        # One per layer, one for the patches and one for the head.
        assert len(rates) == SMALL['num_layers'] + 2
    stages = list(distiller.stages)
    phases = [
        Phase(f'mimic/{stages[0]}', (stages[0], ), (stages[0], )),
        Phase('mimic/joint', tuple(stages), tuple(stages)),
        Phase('head', (), ('head', )),
        Phase('finetune', (), (*stages, 'head')),
    ]
    for phase in phases:
        distiller.enter_phase(phase)
        optimizer = build_optimizer(distiller, cfg).optimizer
        groups = optimizer.param_groups
        params = [p for group in groups for p in group['params']]
        assert len(params) == len(set(params))
        assert set(params) == {
            p for p in distiller.parameters() if p.requires_grad
        }
        settings = settings_of(optimizer, distiller.student)
        adapters = settings.pop(None, None)
        assert settings.items() <= {
            n: value for n, value in expected.items() if n not in frozen
        }.items()
        names = {n for n, p in distiller.student.named_parameters()
                 if p.requires_grad}
        assert settings.keys() == names
        if phase.is_mimic:
            assert adapters == (LR, 0.05)
            own = {p for p in distiller.adapters_of(phase.taps[0]).parameters()
                   if p.requires_grad}
            group, = [g for g in groups if own & set(g['params'])]
            assert not set(group['params']) & set(
                distiller.student.parameters())
        else:
            assert adapters is None
    # In the last phase, everything trains.
    assert {rate for rate, _ in settings.values()} == rates


def test_what_the_student_freezes(make):
    """It stays frozen and is in no group."""
    before = 'backbone.layers.0'
    distiller, plain = make('vit')
    for model in (distiller.student, plain):
        model.get_submodule(before).requires_grad_(False)
    distiller.prepare(
        dict(
            inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)] * 2,
            data_samples=[DataSample().set_gt_label(i) for i in (0, 1)]))
    stages = list(distiller.stages)
    distiller.enter_phase(Phase('finetune', (), (*stages, 'head')))
    for options in (DECAY, CUSTOM, {}):
        optimizer = build_optimizer(distiller, optim_cfg(options)).optimizer
        names = settings_of(optimizer, distiller.student)
        assert not any(n.startswith(before + '.') for n in names)
        assert 'backbone.layers.1.ln1.weight' in names


SAME = ['SGD', torch.optim.SGD, 'torch.optim.SGD', 'mmengine.SGD',
        'torch.optim.sgd.SGD']
OTHERS = ['AdamW', torch.optim.AdamW, 'torch.optim.AdamW', 'mmengine.AdamW']


@pytest.mark.parametrize('base', SAME)
@pytest.mark.parametrize('own', SAME + OTHERS)
def test_type_of_a_phase_s_optimizer(base, own):
    """However it is written, the same type keeps the config's arguments, and
    another type has only its own."""
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type=base, lr=0.1, momentum=0.9),
        clip_grad=dict(max_norm=1.))
    kept = copy.deepcopy(cfg)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        mimic, head = plan_phases(
            dict(dataloader={}, optim_wrapper=cfg, param_scheduler=None),
            ['neck'], [],
            mimic=dict(max_epochs=1),
            head=dict(
                max_epochs=1,
                optim_wrapper=dict(optimizer=dict(type=own, lr=0.01))))
        model = torch.nn.Linear(1, 1)
        wrapper = build_optim_wrapper(model, head.optim_wrapper)
    assert wrapper.clip_grad_kwargs == dict(max_norm=1.)
    optimizer = wrapper.optimizer
    assert optimizer.defaults['lr'] == 0.01
    if own in SAME:
        assert type(optimizer) is torch.optim.SGD
        assert optimizer.defaults['momentum'] == 0.9
    else:
        assert type(optimizer) is torch.optim.AdamW
        assert 'momentum' not in head.optim_wrapper.optimizer
    assert mimic.optim_wrapper == cfg == kept
