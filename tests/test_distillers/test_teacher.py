# Copyright (c) sskd_mm authors. All rights reserved.
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS

from sskd_mm.distillers import Teacher

IMAGENET = ImgDataPreprocessor(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


@pytest.fixture
def cfg(root):
    return str(root / 'configs/baselines/faster-rcnn_r50_fpn_digits.py')


def test_frozen_and_loaded(cfg, teacher_checkpoint):
    teacher = Teacher(cfg, teacher_checkpoint, IMAGENET)
    saved = torch.load(teacher_checkpoint, weights_only=True)['state_dict']
    own = teacher.model.state_dict()
    assert all(torch.equal(own[k], v) for k, v in saved.items())
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert not any(m.training for m in teacher.model.modules())


def test_features_are_those_of_a_full_run(cfg, teacher_checkpoint):
    teacher = Teacher(cfg, teacher_checkpoint, IMAGENET)
    inputs = torch.rand(1, 3, 64, 64)
    levels = teacher.features(inputs, ['neck'])['neck']
    for level, expected in zip(levels, teacher.model.extract_feat(inputs)):
        assert torch.equal(level, expected) and not level.requires_grad


def test_cfg_may_be_the_model_itself_or_from_a_package(
        cfg, teacher_checkpoint, tmp_path, in_mmdet):
    model = Config.fromfile(cfg).model
    teacher = Teacher(model, teacher_checkpoint, IMAGENET)
    assert type(teacher.model).__name__ == 'FasterRCNN'
    name = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    with pytest.raises(FileNotFoundError, match='nothing.pth'):
        Teacher(name, str(tmp_path / 'nothing.pth'), IMAGENET)


def test_ddp_prefix_is_dropped(cfg, teacher_checkpoint, tmp_path):
    state = torch.load(teacher_checkpoint, weights_only=True)['state_dict']
    path = tmp_path / 'ddp.pth'
    torch.save({f'module.{k}': v for k, v in state.items()}, path)
    teacher = Teacher(cfg, str(path), IMAGENET)
    key = 'backbone.conv1.weight'
    assert torch.equal(teacher.model.state_dict()[key], state[key])


def test_missing_config(teacher_checkpoint):
    with pytest.raises(FileNotFoundError, match="'nowhere.py' does not exist"):
        Teacher('nowhere.py', teacher_checkpoint, IMAGENET)
    with pytest.raises(FileNotFoundError, match="'mmdet::nowhere.py' was not"):
        Teacher('mmdet::nowhere.py', teacher_checkpoint, IMAGENET)


def test_no_checkpoint(cfg):
    with pytest.raises(ValueError, match='teaches noise'):
        Teacher(cfg, None, IMAGENET)


def test_weights_of_another_model(cfg, in_mmdet, tmp_path, teacher_checkpoint):
    other = Config.fromfile(cfg).model
    other.backbone.depth = 34
    other.neck.in_channels = [32, 64, 128, 256]
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict=MODELS.build(other).state_dict()), path)
    with pytest.raises(ValueError) as error:
        Teacher(cfg, str(path), IMAGENET)
    assert 'Missing' in str(error.value)
    assert 'Other shape' in str(error.value)


def test_one_key_more(cfg, teacher_checkpoint, tmp_path):
    checkpoint = torch.load(teacher_checkpoint, weights_only=True)
    checkpoint['state_dict']['mask_head.weight'] = torch.zeros(1)
    path = tmp_path / 'more.pth'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r'Unexpected \(1\): mask_head'):
        Teacher(cfg, str(path), IMAGENET)


@pytest.fixture
def load(cfg, teacher_checkpoint, tmp_path):
    """Returns a function that saves the teacher's weights in another layout
    and loads a teacher from that file."""
    weights = torch.load(teacher_checkpoint, weights_only=True)['state_dict']

    def load(layout):
        path = str(tmp_path / 'other.pth')
        torch.save(layout(weights), path)
        own = Teacher(cfg, path, IMAGENET).model.state_dict()
        assert all(torch.equal(own[k], v) for k, v in weights.items())

    return load


@pytest.fixture
def messages(monkeypatch):
    """Log messages by level."""
    messages = dict(info=[], warning=[])
    for level, found in messages.items():
        monkeypatch.setattr(
            MMLogger.get_current_instance(), level,
            lambda text, *args, found=found: found.append(text))
    return messages


def under(prefix, weights):
    return {prefix + k: v for k, v in weights.items()}


@pytest.mark.parametrize('layout, place', [
    (lambda w: dict(state_dict=under('model.', w)), "the prefix 'model.'"),
    (lambda w: under('module.teacher.', w), "the prefix 'module.teacher.'"),
    (lambda w: dict(state_dict=under('architecture.', w), epoch=3),
     "the prefix 'architecture.'"),
    (lambda w: dict(model=w, optimizer=dict(state={}), epoch=3),
     "the key 'model'"),
    (lambda w: dict(checkpoint=dict(net=under('module.', w))),
     "the key 'checkpoint/net' and the prefix 'module.'"),
    (lambda w: dict(ema_state_dict={
        'steps': torch.tensor(3), **under('module.', w)}),
     "the key 'ema_state_dict' and the prefix 'module.'"),
    # A second network that fits worse is not considered.
    (lambda w: {**under('teacher.', w),
                **under('student.', {
                    k: v for k, v in w.items() if 'layer3.5' not in k})},
     "the prefix 'teacher.'"),
])  # yapf: disable
def test_weights_within_a_file(load, messages, layout, place):
    load(layout)
    text, = messages['info']
    assert text.endswith(f', under {place}.') and 'all 295 weights' in text


def test_weights_of_ema_beside_those_of_the_model(load, messages):
    """MMEngine's EMAHook swaps them, so ``state_dict`` is the average."""
    load(lambda w: dict(
        state_dict=w,
        ema_state_dict=under('module.', {k: v + 1 for k, v in w.items()})))
    assert 'under' not in messages['info'][0]


@pytest.mark.parametrize('layout, places', [
    (lambda w: {**under('student.', w), **under('teacher.', w)},
     "under the prefix 'student.' and under the prefix 'teacher.'"),
    (lambda w: dict(model=w, model_ema=w),
     "under the key 'model' and under the key 'model_ema'"),
    # The way other projects save a distillation.
    (lambda w: under('student.', w), "under the prefix 'student.'"),
])
def test_weights_that_are_not_said_to_be_the_teacher_s(load, layout, places):
    with pytest.raises(ValueError, match=f'{places}. Save those of the'):
        load(layout)


def test_weights_of_another_model_under_a_prefix(load):

    def layout(weights):
        weights = dict(weights, **{'neck.more.weight': torch.ones(1)})
        del weights['backbone.layer1.0.conv1.weight']
        return dict(model=weights)

    with pytest.raises(ValueError) as error:
        load(layout)
    assert "294 of 295 weights fit, under the key 'model'." in str(error.value)
    assert 'Missing (1): backbone.layer1.0.conv1' in str(error.value)
    assert 'Unexpected (1): neck.more.weight' in str(error.value)


def test_entries_that_are_no_weights(load, messages):
    mean = IMAGENET.mean.clone()
    more = {
        # Saved by MMEngine before 0.2.
        'data_preprocessor.mean': mean,
        'data_preprocessor.std': IMAGENET.std.clone(),
        # mmdet 2's EMAHook.
        'ema_backbone_conv1_weight': torch.ones(64, 3, 7, 7),
        'ema_backbone_bn1_num_batches_tracked': torch.tensor(3),
        # thop, a counter and an index table.
        'total_ops': torch.zeros(1, dtype=torch.float64),
        'backbone.layer1.total_params': torch.zeros(1, dtype=torch.float64),
        'backbone.relative_position_index': torch.arange(9),
    }
    load(lambda w: dict(state_dict={**w, **more}))
    assert not messages['warning']
    load(lambda w: dict(state_dict={
        **{k: v for k, v in w.items() if v.is_floating_point()}, **more,
        'data_preprocessor.mean': mean / 255}))
    text, = messages['warning']
    assert 'data_preprocessor.mean is [0.485, 0.456, 0.406] in' in text
    assert '[123.675, 116.28, 103.53] in its config' in text


def test_one_key_less(cfg, teacher_checkpoint, tmp_path):
    checkpoint = torch.load(teacher_checkpoint, weights_only=True)
    del checkpoint['state_dict']['rpn_head.rpn_cls.bias']
    path = tmp_path / 'less.pth'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r'Missing.*\(1\): rpn_head.rpn_cls'):
        Teacher(cfg, str(path), IMAGENET)


def test_truncated_file(cfg, teacher_checkpoint, tmp_path):
    path = tmp_path / 'half.pth'
    content = open(teacher_checkpoint, 'rb').read()
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match='truncated or not a checkpoint'):
        Teacher(cfg, str(path), IMAGENET)


class Hostile:

    def __reduce__(self):
        import os
        return os.mkdir, (self.path, )


def test_hostile_pickle_does_not_run(cfg, tmp_path):
    trap = tmp_path / 'it_ran'
    Hostile.path = str(trap)
    path = tmp_path / 'hostile.pth'
    torch.save(dict(state_dict={}, meta=Hostile()), path)
    with pytest.raises(ValueError, match='was not read'):
        Teacher(cfg, str(path), IMAGENET)
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError):
        Teacher(cfg, str(path), IMAGENET)
    assert not trap.exists()


def test_own_normalization(cfg, teacher_checkpoint):
    """The teacher gets what its own preprocessing would return."""
    student = ImgDataPreprocessor(
        mean=[1., 2., 3.], std=[4., 5., 6.], pad_size_divisor=32)
    teacher = Teacher(cfg, teacher_checkpoint, student)
    images = [
        torch.randint(0, 255, (3, *size), dtype=torch.uint8)
        for size in ((64, 50), (60, 64))
    ]
    data = dict(inputs=images)
    ours = student(data, False)['inputs']
    theirs = IMAGENET(data, False)['inputs']
    seen = []
    teacher.model.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(args[0]))
    teacher.features(ours, ['neck'], [(64, 50), (60, 64)])
    torch.testing.assert_close(seen[0], theirs)


def test_takes_the_student_s_preprocessing_if_it_has_none(
        cfg, teacher_checkpoint, in_mmdet):
    model = Config.fromfile(cfg).model
    del model['data_preprocessor']
    teacher = Teacher(model, teacher_checkpoint, IMAGENET)
    assert teacher.model.data_preprocessor is IMAGENET


def test_input_transform(cfg, teacher_checkpoint):
    teacher = Teacher(
        cfg,
        teacher_checkpoint,
        IMAGENET,
        input_transform=dict(type='Resize', size=[96, 64]))
    levels = teacher.features(torch.rand(1, 3, 64, 64), ['neck'])['neck']
    assert levels[0].shape[2:] == (24, 16)
    images = teacher.preprocess(torch.rand(1, 3, 64, 64))
    assert images.shape[-2:] == (96, 64)
    with pytest.raises(ValueError, match="no transform 'Rezise'"):
        Teacher(
            cfg,
            teacher_checkpoint,
            IMAGENET,
            input_transform=dict(type='Rezise'))


def test_path_objects(cfg, teacher_checkpoint):
    teacher = Teacher(Path(cfg), Path(teacher_checkpoint), IMAGENET)
    assert teacher.model.backbone.depth == 50


def test_whoever_was_distilled_teaches(distill_cfg, in_mmdet, tmp_path):
    """From the config of the distillation, in its work directory."""
    cfg = distill_cfg(tmp_path)
    student = MODELS.build(cfg.model.student)
    torch.save(student.state_dict(), tmp_path / 'distilled.pth')
    cfg.dump(tmp_path / 'config.py')
    teacher = Teacher(
        str(tmp_path / 'config.py'), str(tmp_path / 'distilled.pth'),
        IMAGENET)
    assert type(teacher.model).__name__ == 'FasterRCNN'
    assert teacher.model.backbone.depth == 18
    assert torch.equal(teacher.model.backbone.conv1.weight,
                       student.backbone.conv1.weight)
