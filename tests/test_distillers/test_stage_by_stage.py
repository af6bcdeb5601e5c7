# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint

from sskd_mm.distillers.comparison import Comparison
from sskd_mm.stages import Phase


@pytest.fixture
def distiller(distill_cfg, tmp_path, in_mmdet):
    torch.manual_seed(0)
    return MODELS.build(distill_cfg(tmp_path).model)


@pytest.fixture
def plain_cfg(root):
    return Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')


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
    """Without phases, the distiller equals plain mmdet, number for number."""
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
    teacher = set(map(id, distiller.teachers[0].model.parameters()))
    assert not teacher & {id(p) for p in distiller.parameters()}


def test_taps_and_adapters(distiller, data):
    distiller.prepare(data)
    assert list(distiller.stages) == [
        'layer1', 'layer2', 'layer3', 'layer4', 'neck'
    ]
    shapes = distiller.comparison.tap_shapes
    assert shapes['layer2'] == [((32, 16, 16), (256, 16, 16))]
    assert [s for s, _ in shapes['neck']
            ] == [(64, 32, 32), (64, 16, 16), (64, 8, 8), (64, 4, 4),
                  (64, 2, 2)]
    assert not list(distiller.adapters_of('neck').parameters())


def test_mimic_loss_by_hand(distiller, data):
    distiller.prepare(data)
    distiller.enter_phase(Phase('mimic/neck', ('neck', ), ('neck', )))
    inputs = distiller.data_preprocessor(data, True)['inputs']
    losses = distiller(inputs, mode='loss')
    student = distiller.student.extract_feat(inputs)
    teacher = distiller.teachers[0].model.extract_feat(inputs)
    expected = sum(
        ((s - t)**2).mean() for s, t in zip(student, teacher))
    assert list(losses) == ['loss_mimic_neck', 'distance_neck']
    torch.testing.assert_close(losses['loss_mimic_neck'], expected)
    distance = sum(
        (s - t).norm() / t.norm() for s, t in zip(student, teacher))
    torch.testing.assert_close(losses['distance_neck'],
                               distance / len(student))
    assert not losses['distance_neck'].requires_grad


@pytest.mark.parametrize('taps, trains, border', [
    (('layer2', ), ('layer2', ), 'student'),
    (('layer2', ), ('layer1', 'layer2'), 'student'),
    (('layer1', 'layer2'), ('layer1', 'layer2'), 'detached'),
    (('layer1', 'layer2'), ('layer1', 'layer2'), 'teacher'),
])
def test_gradients_reach_only_what_trains(distiller, data, taps, trains,
                                          border):
    distiller.prepare(data)
    distiller.prepare_feeding()
    distiller.enter_phase(Phase('mimic/x', taps, trains, border))
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
    if border == 'teacher':
        expected |= {'feeders.layer1.0.conv.weight',
                     'feeders.layer1.0.conv.bias'}
    assert reached == expected


def test_local_gradient_equals_each_stage_s_own(distiller, data):
    """No gradient crosses a border: a stage only gets that of its own loss."""
    distiller.prepare(data)
    inputs = distiller.data_preprocessor(data, True)['inputs']
    both = ('layer1', 'layer2')
    distiller.enter_phase(Phase('mimic/local', both, both, 'detached'))
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
    teacher = distiller.teachers[0].model.state_dict()
    for key, value in distiller.state_dict().items():
        taken = key.startswith(('rpn_head.', 'neck.fpn_convs')) or (
            key.startswith('neck.lateral') and key.endswith('bias'))
        assert torch.equal(value, teacher[key] if taken else before[key]), key


def test_inherit_a_parameter(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.inherit = ['rpn_head.rpn_cls.bias']
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    teacher = distiller.teachers[0].model
    teacher.rpn_head.rpn_cls.bias.fill_(3.)
    before = copy.deepcopy(distiller.state_dict())
    distiller.inherit_weights()
    changed = [
        key for key, value in distiller.state_dict().items()
        if not torch.equal(value, before[key])
    ]
    assert changed == cfg.model.inherit
    assert (distiller.student.rpn_head.rpn_cls.bias == 3).all()


@pytest.mark.parametrize('inherit, head', [([], False), (['neck'], False),
                                           (['neck', 'roi_head'], True),
                                           (['rpn_head'], True)])
def test_whether_the_head_is_inherited(distill_cfg, tmp_path, in_mmdet, data,
                                       inherit, head):
    cfg = distill_cfg(tmp_path)
    cfg.model.inherit = inherit
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    assert distiller.inherits_head is head


def test_a_hook_finds_what_the_student_has(distiller):
    assert distiller.roi_head is distiller.student.roi_head
    assert not hasattr(distiller, 'detector')
    assert copy.deepcopy(distiller).roi_head is not distiller.roi_head


def test_levels_without_a_counterpart(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.stages = [dict(student='neck', teacher='backbone')]
    # Strides 4 to 32 and 4 to 64.
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    shapes = distiller.comparison.tap_shapes['neck']
    assert len(shapes) == 4
    assert all(s[1:] == t[1:] for s, t in shapes)
    cfg.model.student.backbone.out_indices = [0, 1]
    cfg.model.student.neck.update(
        in_channels=cfg.model.student.neck.in_channels[:2], num_outs=2)
    cfg.model.stages = [dict(student='backbone', teacher='neck')]
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    assert len(distiller.comparison.tap_shapes['backbone']) == 2


def test_inherit_must_exist(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.inherit = ['bbox_head']
    with pytest.raises(ValueError, match="no module 'bbox_head'.*rpn_head"):
        MODELS.build(cfg.model).prepare(data)


def test_teacher_keys(distill_cfg, tmp_path, in_mmdet):
    cfg = distill_cfg(tmp_path)
    cfg.model.teacher.chekpoint = cfg.model.teacher.pop('checkpoint')
    with pytest.raises(
            ValueError, match="teacher has the key 'chekpoint'.*'checkpoint'"):
        MODELS.build(cfg.model)
    cfg.model.teacher = dict(checkpoint='x.pth')
    with pytest.raises(ValueError, match='takes cfg .* and checkpoint'):
        MODELS.build(cfg.model)
    cfg.model.teacher = dict(cfg='x.py')
    cfg.model.stage = ['neck']
    with pytest.raises(
            ValueError, match="model has the key 'stage'.*mean 'stages'"):
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


@pytest.fixture
def fsp_distiller(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.mimic_loss = dict(type='FSPMimicLoss')
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    return distiller


def test_fsp_takes_the_tap_before(fsp_distiller, data):
    distiller = fsp_distiller
    distiller.enter_phase(Phase('mimic/layer2', ('layer2', ), ('layer2', )))
    inputs = distiller.data_preprocessor(data, True)['inputs']
    loss = distiller(inputs, mode='loss')['loss_mimic_layer2']
    pairs = distiller.compare(inputs, ['layer1', 'layer2'])
    (_, s1, t1), = pairs['layer1']
    (_, s2, t2), = pairs['layer2']
    torch.testing.assert_close(loss, distiller.mimic_loss(s2, t2, s1, t1))


def test_fsp_takes_a_single_map_with_each_level(fsp_distiller, data):
    distiller = fsp_distiller
    distiller.enter_phase(Phase('mimic/neck', ('neck', ), ('neck', )))
    inputs = distiller.data_preprocessor(data, True)['inputs']
    loss = distiller(inputs, mode='loss')['loss_mimic_neck']
    pairs = distiller.compare(inputs, ['layer4', 'neck'])
    (_, s1, t1), = pairs['layer4']
    expected = sum(
        distiller.mimic_loss(s, t, s1, t1) for _, s, t in pairs['neck'])
    torch.testing.assert_close(loss, expected)


def test_fsp_needs_levels_that_go_together(fsp_distiller):
    distiller = fsp_distiller
    distiller.comparison.tap_shapes['layer4'] *= 2
    with pytest.raises(ValueError, match="'layer4' has 2 .* 'neck' has 5"):
        distiller.tap_losses.check(['neck'], torch.device('cpu'))
    distiller.tap_losses.check(['layer3'], torch.device('cpu'))


def test_several_teachers_by_hand(distill_cfg, tmp_path, in_mmdet, data,
                                  plain_cfg):
    """The mean of all teachers' losses; a teacher may skip a stage."""
    cfg = distill_cfg(tmp_path)
    torch.manual_seed(1)
    other = MODELS.build(plain_cfg.model)
    path = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict=other.state_dict()), path)
    cfg.model.teacher = [
        cfg.model.teacher,
        dict(cfg=plain_cfg.model.to_dict(), checkpoint=path)
    ]
    cfg.model.stages = [
        'backbone.layer1',
        dict(student='backbone.layer2', teacher=[None, 'backbone.layer2']),
        'neck'
    ]
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    assert [len(distiller.adapters_of(n))
            for n in distiller.stages] == [2, 1, 10]
    taps = tuple(distiller.stages)
    distiller.enter_phase(Phase('mimic/joint', taps, taps))
    distiller.eval()
    inputs = distiller.data_preprocessor(data, True)['inputs']
    losses = distiller(inputs, mode='loss')
    features = distiller.student.backbone(inputs)
    targets = [t.model.backbone(inputs) for t in distiller.teachers]
    first, second = distiller.adapters_of('layer1')
    torch.testing.assert_close(
        losses['loss_mimic_layer1'],
        ((first.conv(features[0]) - targets[0][0]).square().mean() +
         (features[0] - targets[1][0]).square().mean()) / 2)
    assert not list(second.parameters())
    torch.testing.assert_close(
        losses['loss_mimic_layer2'],
        (features[1] - targets[1][1]).square().mean())


def test_before_the_activation(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.pre_activation = True
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    distiller.eval()
    for module in distiller.teachers[0].model.modules():
        # An untrained residual block adds nothing: OpenMMLab initialises its
        # last norm with zeros.
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.fill_(1)
    inputs = distiller.data_preprocessor(data, True)['inputs']
    pairs = distiller.compare(inputs, list(distiller.stages))
    for network, index in ((distiller.student, 0),
                           (distiller.teachers[0].model, 2)):
        after = network.backbone(inputs)
        for name, expected in zip(distiller.stages, after):
            before = pairs[name][0][index]
            assert before.min() < 0
            assert torch.equal(before.relu(), expected)
        # An FPN does not end in an activation.
        for pair, expected in zip(pairs['neck'], network.neck(after)):
            assert torch.equal(pair[index], expected)
    # The activations work in place again.
    assert all(m.inplace for m in distiller.modules()
               if isinstance(m, torch.nn.ReLU))


def test_blockwise_feeds_the_teacher_s_feature(distiller, data):
    distiller.prepare(data)
    distiller.prepare_feeding()
    taps = tuple(distiller.stages)
    distiller.enter_phase(Phase('mimic/blockwise', taps, taps, 'teacher'))
    distiller.eval()
    inputs = distiller.data_preprocessor(data, True)['inputs']
    losses = distiller(inputs, mode='loss')
    student = distiller.student.backbone
    targets = distiller.teachers[0].model.backbone(inputs)
    own = student.layer1(
        student.maxpool(student.relu(student.bn1(student.conv1(inputs)))))
    fed = distiller.feeders['layer1'][0].conv(targets[0])
    torch.testing.assert_close(
        losses['loss_feed_layer1'],
        (fed - own).square().mean() / own.square().mean())
    torch.testing.assert_close(
        losses['loss_mimic_layer2'],
        (distiller.adapters_of('layer2')[0].conv(student.layer2(fed)) -
         targets[1]).square().mean())
    assert 'loss_feed_neck' not in losses, 'nothing follows the last tap'


def test_blockwise_refuses(distill_cfg, tmp_path, in_mmdet, data):
    cfg = distill_cfg(tmp_path)
    cfg.model.pre_activation = True
    distiller = MODELS.build(cfg.model)
    distiller.prepare(data)
    with pytest.raises(ValueError, match='one teacher, pre_activation=False'):
        distiller.prepare_feeding()


def test_a_loss_that_refuses_a_tap_names_it(distill_cfg, tmp_path, in_mmdet,
                                            data):
    """Before training: P6 of such a small image has a single position."""
    cfg = distill_cfg(tmp_path).model
    cfg.stages = ['backbone.layer4', 'neck']
    cfg.mimic_loss = dict(type='ChannelWiseMimicLoss')
    distiller = MODELS.build(cfg)
    data['inputs'] = [image[:, :64, :64] for image in data['inputs']]
    distiller.prepare(data)
    layer4 = Phase('mimic/layer4', ('layer4', ), ('layer4', ))
    distiller.prepare_phases([layer4], 2)
    with pytest.raises(ValueError, match="Stage 'neck': .* a single position"):
        distiller.prepare_phases(
            [layer4, Phase('mimic/neck', ('neck', ), ('neck', ))], 2)


# --- Foreground -------------------------------------------------------------


@pytest.fixture
def with_foreground(distill_cfg, tmp_path, in_mmdet):
    """Returns a function that builds a distiller of the neck."""

    def make(foreground, **model):
        cfg = distill_cfg(tmp_path).model
        cfg.update(
            stages=['neck'],
            mimic_loss=dict(type='L2MimicLoss', foreground=foreground),
            **model)
        torch.manual_seed(0)
        return MODELS.build(cfg)

    return make


@pytest.mark.parametrize('share', [1, 0.5])
def test_objects_weigh_their_share(with_foreground, data, share):
    second = data['data_samples'][1]
    second.gt_instances = second.gt_instances[torch.tensor([False])]
    distiller = with_foreground(share)
    distiller.prepare(copy.deepcopy(data))
    distiller.enter_phase(Phase('mimic/neck', ('neck', ), ('neck', )))
    data = distiller.data_preprocessor(data, True)
    loss = distiller(**data, mode='loss')['loss_mimic_neck']
    expected = 0
    for pair in distiller.compare(data['inputs'], ['neck'])['neck']:
        distance = (pair.adapted - pair.teacher).square().mean(1)
        # The box (10, 10, 40, 50) of the first image, in cells of this level.
        stride = 128 // distance.shape[-1]
        inside = torch.zeros_like(distance, dtype=torch.bool)
        inside[0, 10 // stride:-(-50 // stride),
               10 // stride:-(-40 // stride)] = True
        expected += (share * distance[inside].mean() +
                     (1 - share) * distance[~inside].mean())
    torch.testing.assert_close(loss, expected)


def test_foreground_needs_boxes(with_foreground, data):
    for sample in data['data_samples']:
        del sample.gt_instances.bboxes
    with pytest.raises(ValueError, match='no gt_instances.bboxes. Use'):
        with_foreground(1).prepare(data)
    # Without foreground, no boxes are needed.
    with_foreground(None).prepare(data)


def test_foreground_needs_maps(with_foreground, data, monkeypatch):
    distiller = with_foreground(1)
    monkeypatch.setattr(
        Comparison, 'pair', lambda *args:
        [(torch.rand(2, 9, 4), torch.rand(2, 9, 4))])
    with pytest.raises(ValueError, match=r"tap 'neck' have the shape "
                       r'\(9, 4\). Remove the tap'):
        distiller.prepare(data)
        distiller.tap_losses.check(['neck'], torch.device('cpu'))
