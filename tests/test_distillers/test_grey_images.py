# Copyright (c) sskd_mm authors. All rights reserved.
import itertools
import json

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.distillers import Teacher
from sskd_mm.distillers.renormalize import Renormalize, input_channels

NORMS = {
    None: dict(),
    'one': dict(mean=[120.], std=[60.]),
    'three': dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
}


def config(in_channels, norm, **preprocessor):
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(**NORMS[norm], **preprocessor),
        backbone=dict(
            type='ResNet',
            depth=18,
            in_channels=in_channels,
            stem_channels=8,
            base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64))


def classifier(*args, **preprocessor):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config(*args, **preprocessor))


@pytest.fixture
def teacher_of(tmp_path):

    def make(student, cfg, **kwargs):
        path = tmp_path / 'teacher.pth'
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(cfg)
            torch.save(dict(state_dict=model.state_dict()), path)
            return Teacher(cfg, str(path), student, **kwargs)

    return make


def prepared(preprocessor, images):
    """Raw images (N, C, H, W) after a data preprocessor."""
    return preprocessor(dict(inputs=list(images)), False)['inputs']


@pytest.mark.parametrize(
    'student_norm, teacher_norm, channels, to_rgb',
    [(s, t, c, rgb) for s, t, c, rgb in itertools.product(
        (None, 'one'), NORMS, (1, 3), (False, True))
     if (c, t) != (1, 'three')])
def test_what_the_teacher_makes_of_grey_images(student_norm, teacher_norm,
                                               channels, to_rgb):
    """Compared with its own preprocessing of images read in colour."""
    student = classifier(1, student_norm)
    teacher = classifier(channels, teacher_norm, to_rgb=to_rgb)
    grey = torch.randint(0, 256, (2, 1, 8, 8))
    renormalize = Renormalize(
        student.data_preprocessor,
        teacher.data_preprocessor,
        in_channels=input_channels(teacher))
    found = renormalize(prepared(student.data_preprocessor, grey))
    expected = prepared(teacher.data_preprocessor,
                        grey.expand(2, channels, 8, 8))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('to_rgb', [False, True])
@pytest.mark.parametrize('norm', [None, 'three'])
def test_teacher_of_colour_and_grey_images(norm, to_rgb, teacher_of):
    """Predictions and features are those of the same images in colour."""
    student = ImgDataPreprocessor(**NORMS['one'])
    teacher = teacher_of(student, config(3, norm, to_rgb=to_rgb))
    grey = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    colour = prepared(teacher.model.data_preprocessor,
                      grey.expand(2, 3, 32, 32))
    with torch.no_grad():
        expected, = teacher.model.backbone(colour)
        scores = teacher.model.head.predict(teacher.model.extract_feat(colour))
    found = teacher.features(prepared(student, grey), ['backbone'])
    torch.testing.assert_close(
        found['backbone'][0], expected, rtol=1e-4, atol=1e-4)
    for inputs in (list(grey), grey):
        predicted = teacher.predict(dict(inputs=inputs))
        for one, two in zip(predicted, scores):
            torch.testing.assert_close(one.pred_score, two.pred_score)


def test_detector_of_colour_and_grey_images(root, teacher_checkpoint):
    """mmdet's preprocessor accepts one channel only with a single mean."""
    teacher = Teacher(
        str(root / 'configs/baselines/faster-rcnn_r50_fpn_digits.py'),
        teacher_checkpoint, ImgDataPreprocessor(**NORMS['one']))
    teacher.model.roi_head.test_cfg.score_thr = 0.
    grey = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)

    def predict(images):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1., 1.)))
        found, = teacher.predict(
            dict(inputs=list(images), data_samples=[sample]))
        return found.pred_instances

    found, expected = predict(grey), predict(grey.expand(1, 3, 64, 64))
    assert len(found)
    assert torch.equal(found.bboxes, expected.bboxes)
    assert torch.equal(found.scores, expected.scores)


def test_grey_teacher_and_images_in_colour(teacher_of):
    student = ImgDataPreprocessor(**NORMS['three'], bgr_to_rgb=True)
    teacher = teacher_of(student, config(1, 'one'))
    with pytest.raises(ValueError, match='color_type=.grayscale') as error:
        teacher.features(torch.rand(1, 3, 32, 32), ['backbone'])
    assert 'backbone.in_channels=1' in str(error.value)


def test_a_transform_of_the_users_own_goes_before(teacher_of):
    student = ImgDataPreprocessor(**NORMS['three'], bgr_to_rgb=True)
    teacher = teacher_of(
        student, config(1, 'one'), input_transform=dict(type='Grayscale'))
    assert teacher.preprocess(torch.rand(1, 3, 32, 32)).shape == (1, 1, 32, 32)


def test_images_in_colour_stay(teacher_of):
    student = ImgDataPreprocessor(**NORMS['three'])
    teacher = teacher_of(student, config(3, 'three'))
    inputs = torch.rand(2, 3, 32, 32)
    assert teacher.preprocess(inputs) is inputs


def test_input_channels():
    assert input_channels(classifier(1, 'one')) == 1
    assert input_channels(torch.nn.Linear(2, 3)) is None


def test_a_whole_run(classifier_cfg, tmp_path):
    """A grey student learns from a colour teacher, which scores as in its own
    project, on the same images read in colour."""
    resnet = dict(type='ResNet_CIFAR', depth=18, base_channels=4,
                  stem_channels=4)
    plain = classifier_cfg(tmp_path / 'plain', resnet, 32)
    plain.log_level = 'ERROR'
    runner = Runner.from_cfg(plain)
    runner.train()
    score = runner.message_hub.get_scalar('val/accuracy/top1').current()
    cfg = classifier_cfg(tmp_path / 'run', dict(resnet, in_channels=1), 32)
    teacher = dict(plain.model, data_preprocessor=plain.data_preprocessor)
    cfg.model = dict(
        type='StageByStageDistiller',
        student=cfg.model,
        teacher=dict(
            cfg=teacher, checkpoint=str(tmp_path / 'plain' / 'epoch_1.pth')))
    cfg.data_preprocessor = dict(num_classes=10, mean=[120.], std=[60.])
    for key in ('train_dataloader', 'val_dataloader'):
        cfg[key].dataset.pipeline[0].color_type = 'grayscale'
    cfg.train_cfg = dict(
        type='StageByStageTrainLoop',
        mimic=dict(max_epochs=1),
        head=dict(max_epochs=1),
        schedule='joint',
        accept_weak_teacher=True)
    Runner.from_cfg(cfg).train()
    result = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert result['teacher']['accuracy/top1'] == pytest.approx(score)
    assert [p['name'] for p in result['phases']] == ['mimic/joint', 'head']
