# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint

from sskd_mm.stages import Phase


@pytest.fixture
def distiller(distill_cfg, tmp_path, in_mmdet):
    torch.manual_seed(0)
    return MODELS.build(distill_cfg(tmp_path).model)


@pytest.fixture
def plain_cfg(root):
    return Config.fromfile(
        root / 'configs/baselines/faster_rcnn_r18_digits.py')


@pytest.fixture
def data():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    samples = []
    for _ in range(2):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(128, 128),
                ori_shape=(128, 128),
                pad_shape=(128, 128),
                batch_input_shape=(128, 128),
                scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[10., 10., 40., 50.]]),
            labels=torch.tensor([3]))
        samples.append(sample)
    images = torch.randint(0, 255, (2, 3, 128, 128), dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def test_state_dict_is_the_plain_student_s(distiller, plain_cfg, data):
    plain = MODELS.build(plain_cfg.model)
    distiller.prepare(copy.deepcopy(data))
    state = distiller.state_dict()
    assert list(state) == list(plain.state_dict())
    assert list(state._metadata) == list(plain.state_dict()._metadata)
    plain.load_state_dict(state, strict=True)
    assert distiller.load_state_dict(state).missing_keys == []


def test_plain_checkpoint_loads(distiller, plain_cfg, data, tmp_path):
    torch.manual_seed(1)
    plain = MODELS.build(plain_cfg.model)
    path = str(tmp_path / 'plain.pth')
    torch.save(dict(state_dict=plain.state_dict()), path)
    distiller.prepare(data)
    load_checkpoint(distiller, path, strict=True)
    for key, value in plain.state_dict().items():
        assert torch.equal(distiller.state_dict()[key], value)


def test_foreign_keys_are_still_refused(distiller):
    state = distiller.state_dict()
    state['teacher.backbone.conv1.weight'] = torch.zeros(1)
    del state['rpn_head.rpn_cls.bias']
    with pytest.raises(RuntimeError) as error:
        distiller.load_state_dict(state)
    assert 'teacher.backbone.conv1.weight' in str(error.value)
    assert 'rpn_head.rpn_cls.bias' in str(error.value)


def test_without_phases_it_is_the_student(distiller, plain_cfg, data):
    """Distillation off equals plain mmdet, number for number."""
    plain = MODELS.build(plain_cfg.model)
    plain.load_state_dict(distiller.state_dict())
    logs = []
    for model in (distiller, plain):
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
        torch.manual_seed(0)
        model.train()
        logs.append([
            {k: v.item() for k, v in model.train_step(
                copy.deepcopy(data), wrapper).items()} for _ in range(10)
        ])
    assert logs[0] == logs[1]
    for key, value in plain.state_dict().items():
        assert torch.equal(distiller.state_dict()[key], value), key
    for model in (distiller, plain):
        model.eval()
    with torch.no_grad():
        ours = distiller.val_step(copy.deepcopy(data))
        theirs = plain.val_step(copy.deepcopy(data))
    for a, b in zip(ours, theirs):
        assert torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)


def test_teacher_is_no_part_of_the_model(distiller, data):
    before = {id(p) for p in distiller.parameters()}
    distiller.prepare(data)
    added = [n for n, p in distiller.named_parameters() if id(p) not in before]
    assert added and all(n.startswith('adapters.') for n in added)
    teacher = set(map(id, distiller.teacher.model.parameters()))
    assert not teacher & {id(p) for p in distiller.parameters()}


def test_taps_and_adapters(distiller, data):
    distiller.prepare(data)
    assert list(distiller.stages) == [
        'layer1', 'layer2', 'layer3', 'layer4', 'neck'
    ]
    assert distiller.tap_shapes['layer2'] == [((32, 16, 16), (256, 16, 16))]
    assert [s for s, _ in distiller.tap_shapes['neck']
            ] == [(64, 32, 32), (64, 16, 16), (64, 8, 8), (64, 4, 4),
                  (64, 2, 2)]
    assert not list(distiller.adapters_of('neck').parameters())


def test_mimic_loss_by_hand(distiller, data):
    distiller.prepare(data)
    distiller.enter_phase(Phase('mimic/neck', ('neck', ), ('neck', )))
    inputs = distiller.data_preprocessor(data, True)['inputs']
    losses = distiller(inputs, mode='loss')
    student = distiller.student.extract_feat(inputs)
    teacher = distiller.teacher.model.extract_feat(inputs)
    expected = sum(
        ((s - t)**2).mean() for s, t in zip(student, teacher))
    assert list(losses) == ['loss_mimic_neck']
    torch.testing.assert_close(losses['loss_mimic_neck'], expected)


@pytest.mark.parametrize('taps, trains, detach', [
    (('layer2', ), ('layer2', ), False),
    (('layer2', ), ('layer1', 'layer2'), False),
    (('layer1', 'layer2'), ('layer1', 'layer2'), True),
])
def test_gradients_reach_only_what_trains(distiller, data, taps, trains,
                                          detach):
    distiller.prepare(data)
    distiller.enter_phase(Phase('mimic/x', taps, trains, detach))
    inputs = distiller.data_preprocessor(data, True)['inputs']
    loss, _ = distiller.parse_losses(distiller(inputs, mode='loss'))
    loss.backward()
    reached = {n for n, p in distiller.named_parameters()
               if p.grad is not None}
    expected = {
        f'student.{n}'
        for stage in trains for n in distiller.partition.params[stage]
    } | {
        n for n, _ in distiller.named_parameters()
        if n.startswith(tuple(f'adapters.{tap}.' for tap in taps))
    }
    assert reached == expected


def test_local_gradient_equals_each_stage_s_own(distiller, data):
    """No gradient crosses a border: a stage's is that of its own loss."""
    distiller.prepare(data)
    inputs = distiller.data_preprocessor(data, True)['inputs']
    both = ('layer1', 'layer2')
    distiller.enter_phase(Phase('mimic/local', both, both, True))
    distiller.eval()
    sum(distiller(inputs, mode='loss').values()).backward()
    weight = distiller.student.backbone.layer1[0].conv1.weight
    local = weight.grad.clone()
    distiller.enter_phase(Phase('mimic/layer1', both[:1], both[:1]))
    distiller.eval()
    weight.grad = None
    sum(distiller(inputs, mode='loss').values()).backward()
    torch.testing.assert_close(weight.grad, local)


def test_inherit(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.inherit = ['neck', 'rpn_head']
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    before = copy.deepcopy(distiller.state_dict())
    distiller.inherit_weights()
    teacher = distiller.teacher.model.state_dict()
    for key, value in distiller.state_dict().items():
        taken = key.startswith(('rpn_head.', 'neck.fpn_convs')) or (
            key.startswith('neck.lateral') and key.endswith('bias'))
        assert torch.equal(value, teacher[key] if taken else before[key]), key


def test_inherit_must_exist(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.inherit = ['bbox_head']
    with pytest.raises(ValueError, match="no module 'bbox_head'.*rpn_head"):
        MODELS.build(cfg.model).prepare(data)


def test_teacher_keys(distill_cfg, tmp_path, in_mmdet):
    cfg = distill_cfg(tmp_path)
    cfg.model.teacher.ckpt = 'x.pth'
    with pytest.raises(ValueError, match='takes cfg .* and checkpoint'):
        MODELS.build(cfg.model)


@pytest.mark.parametrize('loss', [
    'L2MimicLoss', 'SmoothL1MimicLoss', 'CosineMimicLoss',
    'NormalizedL2MimicLoss', 'PearsonMimicLoss', 'ChannelWiseMimicLoss',
    'AttentionMimicLoss', 'FSPMimicLoss', 'ContrastiveMimicLoss'
])
def test_every_loss_trains_a_stage(distill_cfg, tmp_path, in_mmdet, data,
                                   loss):
    cfg = distill_cfg(tmp_path)
    cfg.model.mimic_loss = dict(type=loss)
    torch.manual_seed(0)
    distiller = MODELS.build(cfg.model)
    distiller.prepare(copy.deepcopy(data))
    distiller.enter_phase(
        Phase('mimic/layer2', ('layer2', ), ('layer1', 'layer2')))
    wrapper = OptimWrapper(
        torch.optim.AdamW(
            [p for p in distiller.parameters() if p.requires_grad], lr=1e-2))
    log = [
        float(distiller.train_step(copy.deepcopy(data), wrapper)['loss'])
        for _ in range(8)
    ]
    assert log[-1] < log[0]


def test_fsp_takes_the_tap_before(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.mimic_loss = dict(type='FSPMimicLoss')
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    distiller.enter_phase(Phase('mimic/layer2', ('layer2', ), ('layer2', )))
    inputs = distiller.data_preprocessor(data, True)['inputs']
    loss = distiller(inputs, mode='loss')['loss_mimic_layer2']
    pairs = distiller.compare(inputs, ['layer1', 'layer2'])
    (_, s1, t1), = pairs['layer1']
    (_, s2, t2), = pairs['layer2']
    torch.testing.assert_close(loss, distiller.mimic_loss(s2, t2, s1, t1))
