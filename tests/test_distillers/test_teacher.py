# Copyright (c) sskd_mm authors. All rights reserved.
import pickle

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from sskd_mm.distillers import Teacher

CPU = torch.device('cpu')


@pytest.fixture
def cfg(root):
    return str(root / 'configs/baselines/faster_rcnn_r50_digits.py')


def test_frozen_and_loaded(cfg, teacher_checkpoint):
    teacher = Teacher(cfg, teacher_checkpoint, CPU)
    saved = torch.load(teacher_checkpoint, weights_only=True)['state_dict']
    own = teacher.model.state_dict()
    assert all(torch.equal(own[k], v) for k, v in saved.items())
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert not any(m.training for m in teacher.model.modules())


def test_features_are_those_of_a_full_run(cfg, teacher_checkpoint):
    teacher = Teacher(cfg, teacher_checkpoint, CPU)
    inputs = torch.rand(1, 3, 64, 64)
    levels = teacher.features(inputs, ['neck'])['neck']
    for level, expected in zip(levels, teacher.model.extract_feat(inputs)):
        assert torch.equal(level, expected) and not level.requires_grad


def test_cfg_may_be_the_model_itself_or_from_a_package(
        cfg, teacher_checkpoint, tmp_path, in_mmdet):
    model = Config.fromfile(cfg).model
    teacher = Teacher(model, teacher_checkpoint, CPU)
    assert type(teacher.model).__name__ == 'FasterRCNN'
    name = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    with pytest.raises(FileNotFoundError, match='nothing.pth'):
        Teacher(name, str(tmp_path / 'nothing.pth'), CPU)


def test_ddp_prefix_is_dropped(cfg, teacher_checkpoint, tmp_path):
    state = torch.load(teacher_checkpoint, weights_only=True)['state_dict']
    path = tmp_path / 'ddp.pth'
    torch.save({f'module.{k}': v for k, v in state.items()}, path)
    teacher = Teacher(cfg, str(path), CPU)
    key = 'backbone.conv1.weight'
    assert torch.equal(teacher.model.state_dict()[key], state[key])


def test_missing_config(teacher_checkpoint):
    with pytest.raises(FileNotFoundError, match="'nowhere.py' is no file"):
        Teacher('nowhere.py', teacher_checkpoint, CPU)
    with pytest.raises(FileNotFoundError, match="'mmdet::nowhere.py' was not"):
        Teacher('mmdet::nowhere.py', teacher_checkpoint, CPU)


def test_no_checkpoint(cfg):
    with pytest.raises(ValueError, match='teaches noise'):
        Teacher(cfg, None, CPU)


def test_weights_of_another_model(cfg, in_mmdet, tmp_path, teacher_checkpoint):
    other = Config.fromfile(cfg).model
    other.backbone.depth = 34
    other.neck.in_channels = [32, 64, 128, 256]
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict=MODELS.build(other).state_dict()), path)
    with pytest.raises(ValueError) as error:
        Teacher(cfg, str(path), CPU)
    assert 'Missing' in str(error.value)
    assert 'Other shape' in str(error.value)


def test_one_key_more(cfg, teacher_checkpoint, tmp_path):
    checkpoint = torch.load(teacher_checkpoint, weights_only=True)
    checkpoint['state_dict']['mask_head.weight'] = torch.zeros(1)
    path = tmp_path / 'more.pth'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r'Unexpected \(1\): mask_head'):
        Teacher(cfg, str(path), CPU)


def test_one_key_less(cfg, teacher_checkpoint, tmp_path):
    checkpoint = torch.load(teacher_checkpoint, weights_only=True)
    del checkpoint['state_dict']['rpn_head.rpn_cls.bias']
    path = tmp_path / 'less.pth'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r'Missing.*\(1\): rpn_head.rpn_cls'):
        Teacher(cfg, str(path), CPU)


def test_truncated_file(cfg, teacher_checkpoint, tmp_path):
    path = tmp_path / 'half.pth'
    content = open(teacher_checkpoint, 'rb').read()
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match='truncated or no checkpoint'):
        Teacher(cfg, str(path), CPU)


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
        Teacher(cfg, str(path), CPU)
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError):
        Teacher(cfg, str(path), CPU)
    assert not trap.exists()
