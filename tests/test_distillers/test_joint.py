# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.distillers import lay_method_over
from sskd_mm.losses.joint import JointLoss, Knowledge
from sskd_mm.stages import Phase

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
WIDE = dict(RESNET, base_channels=6, stem_channels=6)
KD = dict(type='KDLoss', weight=3., temperature=2)
FINETUNE = Phase('finetune', (), ('layer1', 'layer2', 'layer3', 'layer4',
                                  'head'))


@MODELS.register_module()
class KeepsWhatItGets(JointLoss):
    """Records its inputs and learns a factor."""

    def prepare(self, *args):
        self.prepared = args
        self.factor = torch.nn.Parameter(torch.ones(1))

    def forward(self, *args):
        self.got = args
        return self.factor.sum() * args[0].logits.square().mean()


@pytest.fixture
def make(classifier_cfg, tmp_path):
    """Builds a distiller and prepares it on two training images."""

    def run(losses=(KD, ), teacher=None, prepare=True, phases=(FINETUNE, ),
            **model):
        cfg = classifier_cfg(tmp_path, RESNET, 32)
        teacher = teacher or classifier_cfg(tmp_path, WIDE, 48).model
        path = str(tmp_path / 'teacher.pth')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(1)
            weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
            torch.save(dict(state_dict=weights), path)
            torch.manual_seed(0)
            distiller = MODELS.build(
                dict(
                    type='JointDistiller',
                    student=cfg.model,
                    teacher=dict(cfg=dict(teacher), checkpoint=path),
                    losses=list(losses),
                    data_preprocessor=dict(
                        type='ClsDataPreprocessor',
                        **cfg.data_preprocessor),
                    **model))
            loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
            batch = next(iter(loader))
            if prepare:
                distiller.prepare(copy.deepcopy(batch))
                distiller.prepare_phases(phases, 20)
                distiller.enter_phase(phases[-1])
        return distiller, distiller.data_preprocessor(batch, True)

    return run


def test_total_by_hand(make):
    """Softmax, cross entropy and divergence in numpy, from the logits of
    separate forward passes."""
    distiller, data = make(task_weight=0.25)
    losses = distiller(**data, mode='loss')
    total, _ = distiller.parse_losses(losses)
    labels = torch.cat([x.gt_label for x in data['data_samples']]).numpy()
    teacher = distiller.teachers[0].model
    with torch.no_grad():
        # The student's batch norm is in training mode there too.
        z_s, z_t = (
            x(data['inputs'], mode='tensor').double().numpy()
            for x in (distiller.student, teacher))

    def log_softmax(z):
        return z - np.log(np.exp(z).sum(1, keepdims=True))

    task = -log_softmax(z_s)[np.arange(len(labels)), labels].mean()
    p = log_softmax(z_t / 2)
    kd = 4 * (np.exp(p) * (p - log_softmax(z_s / 2))).sum() / len(labels)
    assert list(losses) == ['loss', 'loss_kd']
    assert losses['loss'].item() == pytest.approx(0.25 * task, rel=1e-5)
    assert losses['loss_kd'].item() == pytest.approx(3 * kd, rel=1e-4)
    assert total.item() == pytest.approx(0.25 * task + 3 * kd, rel=1e-5)


def test_what_a_loss_gets(make):
    distiller, data = make([dict(type='KeepsWhatItGets', weight=1)])
    runs = []
    for role, model in (('student', distiller.student),
                        ('teacher', distiller.teachers[0].model)):
        model.backbone.register_forward_hook(
            lambda *_, role=role: runs.append((role, torch.is_grad_enabled())))
    distiller(**data, mode='loss')
    assert runs == [('student', True), ('teacher', False)]
    loss = distiller.joint_losses['keepswhatitgets']
    student, teacher, labels, indices = loss.got
    samples = data['data_samples']
    assert labels.tolist() == [x.gt_label.item() for x in samples]
    assert indices.tolist() == [x.sample_idx for x in samples]
    assert len(set(indices.tolist())) == 8
    for each, model, width in ((student, distiller.student, 4),
                               (teacher, distiller.teachers[0].model, 6)):
        assert each.names == ('layer1', 'layer2', 'layer3', 'layer4')
        assert [tuple(x.shape) for x in each.features
                ] == [(8, width * 2**k, 32 // 2**k, 32 // 2**k)
                      for k in range(4)]
        # One is computed from the other.
        pooled = each.features[-1].mean((2, 3))
        torch.testing.assert_close(pooled, each.embedding)
        fc = model.head.fc
        torch.testing.assert_close(fc(each.embedding), each.logits)
    assert student.logits.grad_fn is not None
    assert not any(x.requires_grad for x in
                   (*teacher.features, teacher.embedding, teacher.logits))
    prepared = loss.prepared
    assert prepared[2] == 20
    assert [x.shape[1:] for x in prepared[1].features
            ] == [x.shape[1:] for x in teacher.features]


def test_gradient_reaches_student_and_losses_alone(make):
    distiller, data = make([KD, dict(type='KeepsWhatItGets', weight=1)])
    total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    total.backward()
    teacher = list(distiller.teachers[0].model.parameters())
    assert all(p.grad is None and not p.requires_grad for p in teacher)
    params = dict(distiller.named_parameters())
    reached = {n for n, p in params.items() if p.grad is not None}
    trains = {n for n, p in params.items() if p.requires_grad}
    # DDP requires the same parameters.
    assert reached == trains
    assert {n.split('.')[0] for n in reached} == {'student', 'joint_losses'}
    assert {f'student.{n}' for n, _ in distiller.student.named_parameters()
            } < reached


def test_it_is_the_student_elsewhere(make):
    distiller, data = make([dict(type='FitNetLoss')])
    student = distiller.student
    assert list(distiller.state_dict()) == list(student.state_dict())
    distiller.eval()
    with torch.no_grad():
        assert torch.equal(
            distiller(data['inputs'], mode='tensor'),
            student(data['inputs'], mode='tensor'))
    # The head phase adds no losses and keeps the teacher.
    distiller.enter_phase(Phase('head', (), ('head', )))
    assert list(distiller(**data, mode='loss')) == ['loss']
    assert not any(p.requires_grad
                   for p in distiller.joint_losses.parameters())
    assert distiller.teachers
    distiller.enter_phase(Phase('mimic/layer1', ('layer1', ), ('layer1', )))
    assert list(distiller(
        **data, mode='loss')) == ['loss_mimic_layer1', 'distance_layer1']


def test_the_student_begins_as_without_a_teacher(make):
    """Random numbers drawn by teacher, adapters and losses do not change
    it."""
    distiller, _ = make([dict(type='FitNetLoss')], prepare=False)
    distiller.init_weights()
    expected = copy.deepcopy(distiller.state_dict())
    distiller, _ = make([dict(type='FitNetLoss')])
    distiller.init_weights()
    state = distiller.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_mixed_images(make):
    distiller, data = make([dict(type='KeepsWhatItGets', weight=1)])
    for number, sample in enumerate(data['data_samples']):
        score = torch.full((10, ), 0.3 / 9)
        score[number] = 0.7
        sample.set_gt_score(score)
    distiller(**data, mode='loss')
    labels = distiller.joint_losses['keepswhatitgets'].got[2]
    assert labels.tolist() == list(range(8))


def test_two_of_a_kind(make):
    distiller, data = make([KD, dict(type='ATLoss'), KD])
    assert list(distiller(**data, mode='loss')) == [
        'loss', 'loss_kd', 'loss_at', 'loss_kd_2'
    ]


# --- Errors -----------------------------------------------------------------


def test_a_head_that_is_not_linear(make, classifier_cfg, tmp_path):
    teacher = classifier_cfg(tmp_path, WIDE, 48).model
    teacher.head = dict(type='ClsHead')
    with pytest.raises(ValueError, match='the teacher .ImageClassifier. is no '
                       'mmpretrain classifier .*linear layer'):
        make(teacher=teacher)


def test_a_detector(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.model.update(type='JointDistiller', losses=[KD])
    with pytest.raises(
            ValueError, match=r'KDLoss reads the logits of a classifier, but '
            r'the student \(FasterRCNN\) is a detector. Use .*FeatureLoss'):
        Runner.from_cfg(cfg).train_loop


def test_other_classes(make, classifier_cfg, tmp_path):
    teacher = classifier_cfg(tmp_path, WIDE, 48).model
    teacher.head.num_classes = 7
    with pytest.raises(
            ValueError, match='student has 10 and the teacher 7'):
        make(teacher=teacher)
    make([dict(type='ATLoss')], teacher=teacher)


def test_images_without_number(make):
    distiller, data = make(prepare=False)
    data['data_samples'][0].pop('sample_idx')
    with DefaultScope.overwrite_default_scope('mmpretrain'), pytest.raises(
            ValueError, match="lack 'sample_idx'.* PackInputs"):
        distiller.prepare(data)


def test_several_teachers(classifier_cfg, tmp_path):
    teacher = dict(cfg='a.py', checkpoint='a.pth')
    with DefaultScope.overwrite_default_scope('mmpretrain'), pytest.raises(
            ValueError, match='got 2 teachers, .* with one'):
        MODELS.build(
            dict(
                type='JointDistiller',
                student=classifier_cfg(tmp_path, RESNET, 32).model,
                teacher=[teacher, teacher],
                losses=[KD]))


def test_no_losses(make):
    with pytest.raises(ValueError, match='got no losses. Write e.g. losses='):
        make([], prepare=False)


def test_a_loss_of_another_kind(make):
    with pytest.raises(TypeError, match='L2MimicLoss is no JointLoss. '):
        make([dict(type='L2MimicLoss')], prepare=False)


def test_no_phase_for_the_losses(make):
    with pytest.raises(ValueError, match='in the phase finetune, but the '
                       'phases are head. Write train_cfg='):
        make(phases=[Phase('head', (), ('head', ))])


# --- Methods ------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    return Config(
        dict(
            model=dict(
                type='StageByStageDistiller',
                student=dict(type='A'),
                teacher=dict(cfg='b.py'),
                stages=['backbone.layer1'],
                channels_last=True,
                mimic_loss=dict(type='L2MimicLoss', normalize=True),
                inherit=['head']),
            train_cfg=dict(
                type='StageByStageTrainLoop',
                mimic=dict(max_epochs=5),
                head=dict(max_epochs=5, optim_wrapper=dict(lr=1)),
                finetune=dict(max_epochs=3, optim_wrapper=dict(lr=2)),
                phases={'mimic/layer1': dict(max_epochs=7)},
                schedule='cumulative',
                val_interval=4),
            max_epochs=240))


def test_method_over_a_pair(pair, root):
    lay_method_over(pair, str(root / 'configs/_base_/methods/kd.py'))
    assert pair.model == dict(
        type='JointDistiller',
        student=dict(type='A'),
        teacher=dict(cfg='b.py'),
        stages=['backbone.layer1'],
        channels_last=True,
        task_weight=0.1,
        losses=[dict(type='KDLoss', weight=0.9, temperature=4)])
    assert pair.train_cfg == dict(
        type='StageByStageTrainLoop',
        mimic=dict(max_epochs=0),
        head=dict(max_epochs=0),
        finetune=dict(max_epochs=240),
        val_interval=4)


def test_length_of_training_is_not_told(pair, root):
    pair.pop('max_epochs')
    with pytest.raises(ValueError, match='how long training from scratch'):
        lay_method_over(pair, str(root / 'configs/_base_/methods/kd.py'))


@pytest.mark.parametrize('options, length', [
    ({'max_epochs': 6}, 6),
    ({'train_cfg.finetune.max_epochs': 4}, 4),
    ({'max_epochs': 6, 'train_cfg.finetune.max_epochs': 4}, 4),
    ({'model.losses.0.weight': 0.5}, 240),
])
@pytest.mark.parametrize('told', [True, False])
def test_options_over_a_method(pair, root, options, length, told):
    """Options of the command line override the method, too."""
    if not told:
        pair.pop('max_epochs')
        if length == 240:
            return
    lay_method_over(pair, str(root / 'configs/_base_/methods/kd.py'), options)
    assert pair.train_cfg.finetune == dict(max_epochs=length)
    assert pair.model.losses[0].weight == options.get(
        'model.losses.0.weight', 0.9)


def test_options_over_a_method_with_a_length_of_its_own(pair, root, tmp_path):
    """Its length is set; a method without that phase stays without."""
    for text, length in (('dict(max_epochs=3)', dict(max_epochs=3)),
                         ('None', None)):
        (tmp_path / 'method.py').write_text(
            f"model = dict(type='JointDistiller')\n"
            f'train_cfg = dict(finetune={text})\n')
        cfg = copy.deepcopy(pair)
        lay_method_over(cfg, str(tmp_path / 'method.py'), dict(max_epochs=6))
        assert cfg.train_cfg.finetune == length


def test_method_over_a_plain_config(root):
    cfg = Config(dict(model=dict(type='ImageClassifier')))
    with pytest.raises(ValueError, match="'ImageClassifier', which has no "
                       'student and teacher'):
        lay_method_over(cfg, str(root / 'configs/_base_/methods/kd.py'))


def test_what_is_drawn_is_not_the_student_s(make, classifier_cfg, tmp_path):
    """Adapters, feeders and losses are initialised, yet later random numbers
    are those of a run without them."""
    distiller, _ = make([dict(type='FeatureLoss', weight=1.)], prepare=False)
    dataloader = classifier_cfg(tmp_path, RESNET, 32).train_dataloader
    taps = FINETUNE.trains[:-1]
    mimic = Phase('mimic/blockwise', taps, taps, 'teacher')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        batch = next(iter(Runner.build_dataloader(dataloader, seed=0)))
        before = torch.get_rng_state()
        distiller.prepare(batch)
        distiller.prepare_phases([mimic, FINETUNE], 20)
    assert torch.equal(torch.get_rng_state(), before)
    adapters = [
        *distiller.adapters_of('layer1'), *distiller.feeders['layer1'],
        distiller.joint_losses['feature'].adapters[0]
    ]
    for adapter in adapters:
        assert (adapter.conv.bias == 0).all()


def test_an_adapter_of_tokens():
    loss = MODELS.build(dict(type='FeatureLoss', weight=1.))
    student, teacher = (
        Knowledge(features=(torch.rand(2, 9, channels), ))
        for channels in (8, 12))
    loss.prepare(student, teacher, 100)
    expected = loss.adapters[0](student.features[0], (2, 9, 12))
    assert torch.allclose(
        loss(student, teacher, None, None),
        (expected - teacher.features[0]).square().mean())
