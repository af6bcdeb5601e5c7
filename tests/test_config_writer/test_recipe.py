# Copyright (c) sskd_mm authors. All rights reserved.
"""make_config has no numbers of its own: they are the shipped recipes'."""
import copy

import pytest
import torch
from mmengine.config import Config

from sskd_mm.config_writer import choose_recipe, find_inheritable
from sskd_mm.models import build_model

LENGTHS = ('max_epochs', 'max_iters', 'cached_passes')


def classifier(depth=18, width=8, **changed):
    """Plain config of a classifier that trains for 40 epochs."""
    channels = 8 * width if depth < 50 else 32 * width
    cfg = dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            backbone=dict(
                type='ResNet_CIFAR',
                depth=depth,
                base_channels=width,
                stem_channels=width),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead', num_classes=10, in_channels=channels)),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        train_cfg=dict(by_epoch=True, max_epochs=40))
    return Config({**cfg, **changed})


def face(head, depth):
    cfg = classifier()
    cfg.model = dict(
        type='ImageClassifier',
        backbone=dict(
            type='IResNet', depth=depth, embedding=16, input_size=32),
        head=dict(type=head, **dict(num_classes=20, in_channels=16) if
                  head != 'EmbeddingHead' else {}))
    return cfg


def choose(student, teacher, size=32):
    networks = build_model(student), build_model(teacher)
    return choose_recipe(student, *networks, find_inheritable(*networks),
                         [dict(inputs=torch.zeros(3, size, size))])


@pytest.fixture
def shipped(root):
    """Returns a function that reads a recipe."""

    def read(name):
        sskd = Config.fromfile(root / f'configs/_base_/{name}.py').sskd
        return sskd.to_dict()

    return read


def phases(train_cfg):
    """Settings of each phase, in order."""
    single = train_cfg.get('phases', {})
    schedule = train_cfg.get('schedule')
    number = len(schedule) if isinstance(schedule, list) else 1
    return [train_cfg['mimic']] * (number - len(single)) + [
        *single.values(),
        *(train_cfg[p] for p in ('head', 'finetune') if p in train_cfg)
    ]


def assert_same_but_for_lengths(made, theirs, without=()):
    assert made.get('schedule') == theirs.get('schedule')
    for own, other in zip(phases(made), phases(theirs)):
        assert {k: v
                for k, v in own.items() if k not in LENGTHS} == {
                    k: v
                    for k, v in other.items()
                    if k not in (*LENGTHS, *without)
                }


@pytest.mark.parametrize('teacher, size, name, inherit', [
    (classifier(50), 32, 'sskd_cifar', None),
    (classifier(18, 16), 96, 'sskd_imagenet', None),
    (classifier(18), 32, 'sskd_cifar', ['head']),
    (classifier(34), 32, 'sskd_cifar_siblings', ['backbone', 'head']),
    (classifier(34), 96, 'sskd_imagenet', ['backbone', 'head']),
])
def test_classifiers(teacher, size, name, inherit, shipped):
    """By the size of images, and by whether the student is the teacher with
    fewer blocks."""
    made = choose(classifier(), teacher, size)
    theirs = shipped(name)
    assert made.file == f'_base_/{name}.py'
    assert made.model['stages'] == theirs['model']['stages']
    assert made.model.get('inherit') == inherit
    assert_same_but_for_lengths(made.train_cfg, theirs['train_cfg'])
    lengths = [p['max_epochs'] for p in phases(made.train_cfg)]
    whole = [p['max_epochs'] for p in phases(theirs['train_cfg'])]
    assert sum(lengths) == made.length == 40
    for own, other in zip(lengths, whole):
        assert abs(own - 40 * other / sum(whole)) <= 1


@pytest.mark.parametrize('pair', [
    'cifar10/resnet56_resnet8', 'cifar10/resnet56_resnet20',
    'cifar100/resnet110_resnet20', 'cifar100/resnet110_resnet32',
    'cifar100/resnet32x4_resnet8x4', 'cifar100/wrn_40_2_wrn_16_2',
    'cifar100/wrn_40_2_wrn_40_1', 'cifar100/resnet50_vgg8'
])
def test_shipped_pairs_have_the_recipe_that_would_be_chosen(pair, root):
    """By how many of the teacher's blocks the student has."""
    file = root / f'configs/sskd/{pair}_{pair.partition("/")[0]}.py'
    cfg = Config.fromfile(file)
    student = Config(
        dict(
            default_scope='mmpretrain',
            model=cfg.model.student,
            optim_wrapper=cfg.optim_wrapper,
            train_cfg=dict(by_epoch=True, max_epochs=240)))
    made = choose(student, Config.fromfile(cfg.model.teacher.cfg))
    assert f"'../../{made.file}'," in file.read_text()
    assert made.model['stages'] == cfg.model.stages


@pytest.mark.parametrize('optimizer, is_sgd', [
    (dict(type='torch.optim.SGD'), True),
    (dict(type='torch.optim.sgd.SGD'), True),
    (dict(type='mmengine.SGD'), True),
    (dict(type='AdamW'), False),
])
def test_optimizer_by_any_name(optimizer, is_sgd, shipped):
    """Learning rates of the recipe are for SGD."""
    made = choose(
        classifier(optim_wrapper=dict(optimizer=optimizer)), classifier(50))
    assert ('optim_wrapper' in made.train_cfg['mimic']) is is_sgd
    assert_same_but_for_lengths(
        made.train_cfg,
        shipped('sskd_cifar')['train_cfg'],
        without=() if is_sgd else ('optim_wrapper', ))


@pytest.mark.parametrize('also', ['student', 'teacher', 'both'])
def test_two_necks(also):
    """A neck with weights is a stage for 'auto', and is listed once."""
    pair = dict(student=classifier(), teacher=classifier(50))
    for role, width in (('student', 64), ('teacher', 256)):
        if also in (role, 'both'):
            model = pair[role].model
            model.neck = [
                model.neck,
                dict(type='LinearNeck', in_channels=width, out_channels=32)
            ]
            model.head.in_channels = 32
    layers = [f'backbone.layer{i}' for i in range(1, 5)]
    assert choose(**pair).model['stages'] == (
        ['auto'] if also == 'both' else [*layers, 'neck'])


def test_network_of_timm(shipped):
    """It has no backbone, neck or head by these names, and is a classifier
    all the same."""
    student = classifier(
        model=dict(
            type='TimmClassifier',
            model_name='resnet18',
            num_classes=10,
            loss=dict(type='CrossEntropyLoss')))
    made = choose(student, classifier(50))
    assert made.model == dict(stages=['auto'])
    assert_same_but_for_lengths(made.train_cfg,
                                shipped('sskd_cifar')['train_cfg'])
    made = choose(student, copy.deepcopy(student))
    assert 'inherit' not in made.model, 'it would start as the teacher'


def test_faces(shipped):
    theirs = shipped('sskd_face')
    student = face('ArcFaceHead', 18)
    student.train_cfg.max_epochs = 20
    made = choose(student, face('ArcFaceHead', 34))
    del theirs['train_cfg']['type'], theirs['model']['type']
    assert (made.model, made.train_cfg) == (theirs['model'],
                                            theirs['train_cfg'])
    # Without class centres there is no head to train.
    student = face('EmbeddingHead', 18)
    made = choose(student, face('ArcFaceHead', 34))
    assert made.kind == 'faces' and 'inherit' not in made.model
    assert [p['max_epochs'] for p in phases(made.train_cfg)] == [20, 20, 0]


def test_iterations():
    """In the same proportions."""
    made = choose(
        classifier(train_cfg=dict(by_epoch=False, max_iters=24000)),
        classifier(50))
    assert [p['max_iters'] for p in phases(made.train_cfg)] == [
        18500, 3500, 2000
    ]
    assert not any('max_epochs' in p for p in phases(made.train_cfg))
