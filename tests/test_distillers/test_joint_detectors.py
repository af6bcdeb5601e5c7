# Copyright (c) sskd_mm authors. All rights reserved.
"""Joint distillation of detectors, one-stage and two-stage."""
import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from sskd_mm.analysis import describe_cost
from sskd_mm.compat import load_checkpoint_file
from sskd_mm.distillers import lay_method_over
from sskd_mm.distillers.detector_view import DetectorView
from sskd_mm.losses.joint import JointLoss
from sskd_mm.stages import Phase

METHODS = Path(__file__).parents[2] / 'configs/_base_/methods'
FINETUNE = Phase('finetune', (), ('neck', 'head'))
PKD = dict(
    type='FeatureLoss', weight=6., mimic_loss=dict(type='PearsonMimicLoss'))
FOREGROUND = dict(
    type='FeatureLoss', mimic_loss=dict(type='L2MimicLoss', foreground=1))


def gfl(width, channels=16):
    return dict(
        type='GFL',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_size_divisor=32),
        backbone=dict(
            type='ResNet', depth=18, base_channels=width, stem_channels=width),
        neck=dict(
            type='FPN',
            in_channels=[width * 2**i for i in range(4)],
            out_channels=channels,
            start_level=1,
            num_outs=3),
        bbox_head=dict(
            type='GFLHead',
            num_classes=10,
            in_channels=channels,
            stacked_convs=3,
            feat_channels=8,
            reg_max=4,
            norm_cfg=dict(type='GN', num_groups=2),
            anchor_generator=dict(
                type='AnchorGenerator',
                ratios=[1.0],
                octave_base_scale=4,
                scales_per_octave=1,
                strides=[8, 16, 32]),
            loss_cls=dict(
                type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
        train_cfg=dict(
            assigner=dict(type='ATSSAssigner', topk=9),
            allowed_border=-1,
            pos_weight=-1),
        test_cfg=dict(
            nms_pre=100,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.6),
            max_per_img=10))


@MODELS.register_module()
class KeepsKnowledge(JointLoss):
    """Records its inputs."""

    needs = ('outputs', 'boxes')

    def prepare(self, *args):
        self.prepared = args

    def forward(self, *args):
        self.got = args
        return args[0].features[0].square().mean()


@pytest.fixture
def joint_cfg(distill_cfg, tmp_path):
    """Returns a function that makes the config of a joint distillation on
    images of 64 x 64, of GFLs or of small Faster R-CNNs."""

    def make(losses, student=None, teacher=None, folder='joint', **options):
        cfg = distill_cfg(tmp_path / folder)
        if student != 'FasterRCNN':
            teacher = teacher or gfl(8, 32)
            path = tmp_path / 'teacher.pth'
            with DefaultScope.overwrite_default_scope('mmdet'):
                torch.manual_seed(1)
                weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
            torch.save(dict(state_dict=weights), path)
            cfg.model.student = student or gfl(4)
            cfg.model.teacher = dict(cfg=teacher, checkpoint=str(path))
        cfg.model.update(
            type='JointDistiller', stages=['neck'], losses=losses)
        cfg.model.pop('mimic_loss')
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            for transform in loader.dataset.pipeline:
                if transform['type'] == 'Resize':
                    transform['scale'] = (64, 64)
        cfg.train_cfg.update(
            mimic=dict(max_epochs=0),
            head=dict(max_epochs=0),
            finetune=dict(max_epochs=1))
        cfg.log_level = 'WARNING'
        # A fixed name would be shared with other runs.
        cfg.visualizer = None
        cfg.merge_from_dict(options)
        return cfg

    return make


@pytest.fixture
def make(joint_cfg):
    """Builds a prepared distiller and a batch for it."""

    def run(losses, **options):
        cfg = joint_cfg(losses, **options)
        loop = Runner.from_cfg(cfg).train_loop
        distiller = loop.distiller
        distiller.enter_phase(FINETUNE)
        batch = next(iter(loop.dataloader))
        return distiller, distiller.data_preprocessor(batch, True)

    return run


def _flat(losses):
    return {
        name: torch.stack(value).sum() if isinstance(value, list) else value
        for name, value in losses.items()
    }


@pytest.mark.parametrize('student', [None, 'FasterRCNN'])
def test_without_weight_it_is_the_detector(make, student):
    """Losses and gradients are equal to those computed separately."""
    losses = [dict(PKD, weight=0.), dict(FOREGROUND, weight=0.)]
    distiller, data = make(losses, student=student)
    plain = copy.deepcopy(distiller.student)
    torch.manual_seed(0)
    ours = distiller(**copy.deepcopy(data), mode='loss')
    torch.manual_seed(0)
    theirs = plain(**data, mode='loss')
    assert list(ours) == [*theirs, 'loss_feature', 'loss_feature_2']
    for name, value in _flat(theirs).items():
        assert _flat(ours)[name] == value, name
    totals = [distiller.parse_losses(x)[0] for x in (ours, theirs)]
    assert totals[0] == totals[1]
    for total in totals:
        total.backward()
    for (name, a), b in zip(distiller.student.named_parameters(),
                            plain.parameters()):
        assert torch.equal(a.grad, b.grad), name


def test_weights(make):
    losses = [PKD, FOREGROUND]
    distiller, data = make(losses, **{'model.task_weight': 0.5})
    plain = copy.deepcopy(distiller.student)
    torch.manual_seed(0)
    ours = _flat(distiller(**copy.deepcopy(data), mode='loss'))
    # Both features, each from a separate forward pass.
    student = plain.extract_feat(data['inputs'])
    teacher = distiller.teachers[0].model.extract_feat(data['inputs'])
    pearson = MODELS.build(PKD['mimic_loss'])
    adapters = distiller.joint_losses['feature'].adapters
    expected = 6 * sum(
        pearson(a(s, t.shape), t)
        for a, s, t in zip(adapters, student, teacher))
    torch.testing.assert_close(ours['loss_feature'], expected)
    theirs = _flat(plain(**data, mode='loss'))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], 0.5 * value)


def test_what_a_loss_gets(make):
    distiller, data = make([dict(type='KeepsKnowledge', weight=1)])
    runs = []
    teacher = distiller.teachers[0].model
    for role, model in (('student', distiller.student), ('teacher', teacher)):
        for part in ('backbone', 'bbox_head'):
            getattr(model, part).register_forward_hook(
                lambda *_, name=f'{role} {part}': runs.append(
                    (name, torch.is_grad_enabled())))
    distiller(**data, mode='loss')
    assert runs == [('student backbone', True), ('student bbox_head', True),
                    ('teacher backbone', False), ('teacher bbox_head', False)]
    loss = distiller.joint_losses['keepsknowledge']
    ours, theirs, objects, indices = loss.got
    assert indices is None and loss.prepared[2] == 24
    assert [tuple(b.shape) for b in objects.boxes
            ] == [tuple(x.gt_instances.bboxes.shape)
                  for x in data['data_samples']]
    assert objects.image_size == (64, 64)
    for each, model, width in ((ours, distiller.student, 16),
                               (theirs, teacher, 32)):
        assert each.names == ('neck.0', 'neck.1', 'neck.2')
        assert each.embedding is None and each.logits is None
        assert [tuple(x.shape) for x in each.features
                ] == [(8, width, n, n) for n in (8, 4, 2)]
        assert each.head is model.bbox_head
        # One is computed from the other.
        for got, expected in zip(each.outputs, each.head(each.features)):
            for x, y in zip(got, expected):
                torch.testing.assert_close(x, y)
    assert ours.outputs[0][0].requires_grad
    assert not theirs.outputs[0][0].requires_grad


def test_the_teacher_runs_to_its_last_tap_only(make):
    distiller, data = make([PKD], student='FasterRCNN')
    teacher = distiller.teachers[0].model
    runs = []
    for name in ('backbone', 'rpn_head', 'roi_head'):
        getattr(teacher, name).register_forward_hook(
            lambda *_, name=name: runs.append(name))
    teacher.neck.register_forward_pre_hook(lambda *_: runs.append('neck'))
    distiller(**data, mode='loss')
    assert runs == ['backbone', 'neck']


def test_ld_is_that_of_mmdet(make):
    distiller, data = make([dict(type='LDLoss')],
                           teacher=gfl(8, 32))
    student = distiller.student
    with DefaultScope.overwrite_default_scope('mmdet'):
        cfg = dict(
            gfl(4)['bbox_head'],
            type='LDHead',
            loss_ld=dict(
                type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10),
            train_cfg=gfl(4)['train_cfg'])
        head = MODELS.build(cfg)
    head.load_state_dict(student.bbox_head.state_dict())
    teacher = distiller.teachers[0].model
    # Trained heads vary more with the position.
    for model in (student, teacher):
        torch.nn.init.normal_(model.bbox_head.gfl_reg.weight)
        torch.nn.init.normal_(model.bbox_head.gfl_cls.weight)
    head.load_state_dict(student.bbox_head.state_dict())
    losses = distiller(**copy.deepcopy(data), mode='loss')
    features = student.extract_feat(data['inputs'])
    taught = teacher.bbox_head(teacher.extract_feat(data['inputs']))
    expected = head.loss(features, taught, data['data_samples'])
    value = torch.stack(expected['loss_ld']).sum()
    assert value > 0.01
    torch.testing.assert_close(losses['loss_ld'], value)
    gradients = []
    for loss in (losses['loss_ld'], value):
        gradients.append(
            torch.autograd.grad(loss, student.neck.parameters()))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def _crossed(distiller, data, num_convs):
    """CrossKD's two sums, by loops over heads run by hand."""
    student, teacher = distiller.student, distiller.teachers[0].model
    ours = student.extract_feat(data['inputs'])
    theirs = teacher.extract_feat(data['inputs'])
    heads = student.bbox_head, teacher.bbox_head
    classes = boxes = weights = 0
    for level in range(3):
        outputs = []
        for cross in (True, False):
            branches = []
            for name in ('cls_convs', 'reg_convs'):
                x = (ours if cross else theirs)[level]
                for k in range(3):
                    first = cross and k < num_convs
                    x = getattr(heads[0 if first else 1], name)[k](x)
                branches.append(x)
            outputs.append(
                (heads[1].gfl_cls(branches[0]),
                 heads[1].scales[level](heads[1].gfl_reg(branches[1]))))
        (x, q), (t, p) = [[
            y.double().permute(0, 2, 3, 1).flatten(0, 2) for y in pair
        ] for pair in outputs]
        t, y = t.sigmoid(), x.sigmoid()
        entropy = -t * y.log() - (1 - t) * (1 - y).log()
        classes += ((t - y).abs() * entropy).sum()
        for i in range(len(t)):
            w = t[i].max()
            weights += w
            for a, b in zip(q[i].view(4, 5), p[i].view(4, 5)):
                a, b = a.softmax(0), b.softmax(0)
                boxes += w * (b * (b / a).log()).sum() / 4
    return classes, boxes / weights


@pytest.mark.parametrize('num_convs', [1, 3])
def test_cross_kd(make, num_convs):
    loss = dict(
        type='CrossKDLoss', regression_weight=7, num_convs=num_convs, weight=2)
    distiller, data = make([loss])
    # Trained heads vary more with the position.
    for model in (distiller.student, distiller.teachers[0].model):
        for layer in (model.bbox_head.gfl_reg, model.bbox_head.gfl_cls):
            torch.nn.init.normal_(layer.weight, std=0.3)
    value = distiller(**copy.deepcopy(data), mode='loss')['loss_crosskd']
    head = distiller.student.bbox_head
    sizes = [(n, n) for n in (8, 4, 2)]
    anchors = head.prior_generator.grid_priors(sizes, device='cpu')
    samples = [x.gt_instances for x in data['data_samples']]
    with DefaultScope.overwrite_default_scope('mmdet'):
        number = sum(
            head.assigner.assign(
                InstanceData(priors=torch.cat(anchors)), [n * n for n in (
                    8, 4, 2)], x).gt_inds.gt(0).sum() for x in samples)
    classes, boxes = _crossed(distiller, data, num_convs)
    assert number > 10
    expected = 2 * (classes / number + 7 * boxes)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    grads = torch.autograd.grad(
        value, list(head.parameters()), allow_unused=True)
    reached = {
        name.split('.')[0] + name.split('.')[1]
        for (name, _), x in zip(head.named_parameters(), grads)
        if x is not None
    }
    # Its own predictions depend on the ground truth only.
    assert reached == {
        f'{branch}_convs{k}'
        for branch in ('cls', 'reg') for k in range(num_convs)
    }


# --- From end to end ---------------------------------------------------------


def test_from_end_to_end(joint_cfg, tmp_path):
    losses = [
        dict(type='MGDLoss'),
        dict(type='FGDLoss'),
        dict(type='LDLoss'),
        dict(type='CrossKDLoss')
    ]
    cfg = joint_cfg(losses)
    (cost, ) = describe_cost(cfg)
    assert cost['name'] == 'finetune' and cost['gflops'] > 0
    runner = Runner.from_cfg(cfg)
    runner.train()
    folder = tmp_path / 'joint'
    result = json.loads((folder / 'result.json').read_text())
    assert [p['name'] for p in result['phases']] == ['finetune']
    checkpoint = load_checkpoint_file(str(folder / 'epoch_1.pth'))
    student = runner.train_loop.distiller.student
    assert list(checkpoint['state_dict']) == list(student.state_dict())
    # It scores the same as the plain detector.
    cfg.model = gfl(4)
    cfg.load_from = str(folder / 'epoch_1.pth')
    cfg.work_dir = str(tmp_path / 'plain')
    cfg.test_dataloader = cfg.val_dataloader
    cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = None
    cfg.param_scheduler = None
    cfg.experiment_name += '_plain'
    metrics = Runner.from_cfg(cfg).test()
    assert metrics['coco/bbox_mAP'] == pytest.approx(
        result['student']['coco/bbox_mAP'])


@pytest.mark.parametrize(
    'method',
    ['scratch', 'fpn', 'pkd', 'cwd', 'fgfi', 'mgd', 'fgd', 'ld', 'crosskd'])
def test_methods_over_a_detector(method, joint_cfg):
    """One training step of each."""
    cfg = joint_cfg([])
    cfg.model.update(type='StageByStageDistiller', inherit=['neck'])
    cfg.max_epochs = 3
    lay_method_over(cfg, str(METHODS / f'{method}.py'))
    cfg.train_cfg.accept_weak_teacher = True
    loop = Runner.from_cfg(cfg).train_loop
    (phase, ) = loop.phases
    assert (phase.name, phase.max_epochs) == ('finetune', 3)
    loop.enter_phase(phase)
    losses = loop.distiller.train_step(
        next(iter(loop.dataloader)), loop.runner.optim_wrapper)
    assert losses['loss'].isfinite()
    own = {'loss_cls', 'loss_bbox', 'loss_dfl', 'loss'}
    assert (set(losses) == own) == (method == 'scratch')


# --- Errors -----------------------------------------------------------------


def test_a_two_stage_detector_has_no_dense_head(make):
    with pytest.raises(ValueError, match=r'the student \(FasterRCNN\) has no '
                       'dense head .*such as GFL'):
        make([dict(type='LDLoss')], student='FasterRCNN')


def test_other_distributions(make):
    teacher = gfl(8, 32)
    teacher['bbox_head']['reg_max'] = 8
    with pytest.raises(ValueError, match=r'\(20, 8, 8\).*\(36, 8, 8\).*the '
                       'same classes, strides and reg_max'):
        make([dict(type='LDLoss')], teacher=teacher)


@pytest.mark.parametrize('num_convs, channels, message', [
    (0, 8, 'num_convs is 0, .*from 1 to 3'),
    (4, 8, 'num_convs is 4, .*from 1 to 3'),
    (2, 4, r'8 and 4 channels. Set .*feat_channels=4'),
])
def test_heads_that_do_not_continue(make, num_convs, channels, message):
    teacher = gfl(8, 32)
    teacher['bbox_head']['feat_channels'] = channels
    with pytest.raises(ValueError, match=message):
        make([dict(type='CrossKDLoss', num_convs=num_convs)], teacher=teacher)


def test_a_head_without_distributions(make):
    teacher = gfl(8, 32)
    teacher['type'] = 'ATSS'
    teacher['bbox_head'].update(
        type='ATSSHead', reg_max=None, loss_cls=dict(type='FocalLoss'))
    teacher['bbox_head'].pop('reg_max')
    with pytest.raises(ValueError, match=r'the teacher\'s head \(ATSSHead\) '
                       'has none. Use GFL'):
        make([dict(type='LDLoss')], teacher=teacher)


def test_no_boxes(joint_cfg):
    cfg = joint_cfg([FOREGROUND])
    cfg.train_dataloader.dataset.pipeline[1].with_bbox = False
    cfg.train_dataloader.dataset.pipeline[1].with_label = False
    with pytest.raises(ValueError, match='no gt_instances.bboxes'):
        Runner.from_cfg(cfg).train_loop


def test_objects_of_a_classifier(classifier_cfg, tmp_path):
    student = classifier_cfg(
        tmp_path, dict(type='ResNet_CIFAR', depth=18), 512)
    teacher = [tmp_path / name for name in ('a.py', 'a.pth')]
    for file in teacher:
        file.touch()
    student.model = dict(
        type='JointDistiller',
        student=student.model,
        teacher=dict(cfg=str(teacher[0]), checkpoint=str(teacher[1])),
        losses=[FOREGROUND])
    student.train_cfg = dict(
        type='StageByStageTrainLoop', mimic={}, head={})
    with pytest.raises(
            ValueError, match='FeatureLoss reads the boxes of a detector, '
            r'but the student \(ImageClassifier\) is a classifier'):
        Runner.from_cfg(student).train_loop


def test_a_teacher_of_another_task(in_mmdet):
    student = MODELS.build(gfl(4))
    with pytest.raises(ValueError, match=r'the teacher \(Linear\) is no '
                       'detector of mmdet, but the other network is'):
        DetectorView(student, torch.nn.Linear(1, 1), (), None, ())
