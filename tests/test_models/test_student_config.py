# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import pytest
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from new_style_config import write_new_style
from torch.utils.data import Dataset

from sskd_mm.distillers import lay_method_over
from sskd_mm.models import build_model, sskd_mm_types, student_config

NEW_STYLE = '''
from mmengine.config import read_base
from sskd_mm.distillers import StageByStageDistiller
from sskd_mm.engine import StageByStageTrainLoop

with read_base():
    from .student import *

model = dict(
    type=StageByStageDistiller, student=model,
    teacher=dict(cfg=model, checkpoint='none.pth'))
train_cfg = dict(
    type=StageByStageTrainLoop, mimic=dict(max_epochs=1),
    head=dict(max_epochs=1))
'''


def shapes(model):
    return {key: x.shape for key, x in model.state_dict().items()}


def written(cfg, path, **kwargs):
    """The student's config, dumped and read again."""
    student_config(cfg, **kwargs).dump(path)
    return Config.fromfile(path)


@pytest.fixture
def new_style(tmp_path, digit_images):
    """The distillation of a student whose config is new-style."""
    folder = write_new_style(tmp_path / 'configs', digit_images).parent
    (folder / 'distilled.py').write_text(NEW_STYLE)
    return Config.fromfile(folder / 'distilled.py')


@pytest.mark.parametrize('style', ['new', 'dumped', 'classes'])
def test_styles(style, new_style, tmp_path):
    cfg = new_style
    if style == 'dumped':
        cfg.dump(tmp_path / 'dumped.py')
        cfg = Config.fromfile(tmp_path / 'dumped.py')
    elif style == 'classes':
        # Put together in Python, from the classes themselves.
        cfg = Config({key: build_lazy(cfg[key]) for key in cfg.keys()})
    names = tuple('9876543210')
    plain = written(cfg, tmp_path / 'plain.py', metainfo=dict(classes=names))
    assert not sskd_mm_types(plain)
    assert 'custom_imports' not in plain
    assert shapes(build_model(plain)) == shapes(build_model(new_style))
    assert 'train_dataloader' not in plain and 'optim_wrapper' not in plain
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = Runner.build_dataloader(plain.test_dataloader).dataset
        Evaluator(plain.test_evaluator)
    assert dataset.metainfo['classes'] == names


def build_lazy(value):
    """A copy with classes in it rather than their names."""
    if isinstance(value, dict):
        return {key: build_lazy(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(build_lazy, value))
    return value


@pytest.mark.parametrize('method', ['kd', 'fgd'])
def test_methods(method, distill_cfg, root, tmp_path):
    """A JointDistiller's student is the same one."""
    cfg = distill_cfg(tmp_path)
    cfg.max_epochs = 2
    expected = shapes(build_model(cfg))
    lay_method_over(cfg, str(root / f'configs/_base_/methods/{method}.py'))
    plain = written(cfg, tmp_path / 'plain.py')
    assert shapes(build_model(plain)) == expected
    assert plain.model.type == 'FasterRCNN'


def test_what_is_left_out(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    before = copy.deepcopy(cfg)
    cfg.custom_imports = dict(
        imports=['sskd_mm', 'torch.nn', 'sskd_mm.losses'],
        allow_failed_imports=False)
    cfg.custom_hooks = [dict(type='ProgressHook'), dict(type='EMAHook')]
    cfg.default_hooks.checkpoint.type = 'PhaseCheckpointHook'
    cfg.default_hooks.logger.type = 'mmengine.LoggerHook'
    cfg.tta_model = dict(type='mmdet.DetTTAModel')
    cfg.my_own = 1
    plain = written(cfg, tmp_path / 'plain.py')
    assert plain.custom_imports == dict(
        imports=['torch.nn'], allow_failed_imports=False)
    assert [hook.type for hook in plain.custom_hooks] == ['EMAHook']
    assert 'checkpoint' not in plain.default_hooks
    assert plain.default_hooks.logger.type == 'mmengine.LoggerHook'
    assert plain.tta_model.type == 'mmdet.DetTTAModel'
    assert not {'my_own', 'train_cfg', 'param_scheduler', 'load_from'} & set(
        plain.keys())
    assert cfg.model == before.model


def test_classes_in_wrappers(distill_cfg, tmp_path):
    """Classes go to the inmost data sets that name none of their own."""
    cfg = distill_cfg(tmp_path)
    inner = copy.deepcopy(cfg.test_dataloader.dataset)
    del inner['metainfo']
    named = dict(inner, metainfo=dict(classes=('a', 'b')))
    cfg.test_dataloader.dataset = dict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', times=1, dataset=inner), named])
    plain = written(
        cfg,
        tmp_path / 'plain.py',
        metainfo=dict(classes=('x', 'y'), palette=[(1, 2, 3), (4, 5, 6)]))
    first, second = plain.test_dataloader.dataset.datasets
    assert first.dataset.metainfo == dict(
        classes=('x', 'y'), palette=[(1, 2, 3), (4, 5, 6)])
    assert second.metainfo.classes == ('a', 'b')


def test_a_data_set_without_metainfo(distill_cfg, tmp_path):

    @DATASETS.register_module(force=True)
    class Listed(Dataset):

        def __init__(self, files):
            self.files = files

    cfg = distill_cfg(tmp_path)
    cfg.test_dataloader.dataset = dict(type='Listed', files=['a.png'])
    plain = student_config(cfg, dict(classes=('x', 'y')))
    assert 'metainfo' not in plain.test_dataloader.dataset


def test_a_metric_of_both(distill_cfg, tmp_path):
    """The metric that sskd_mm stands in for is mmdet's plain one, which has
    the same figures."""
    pytest.importorskip('faster_coco_eval')
    cfg = distill_cfg(tmp_path)
    cfg.test_evaluator.type = (
        'sskd_mm.compat.faster_coco_metric.FasterCocoMetric')
    plain = student_config(cfg)
    assert plain.test_evaluator.type == 'mmdet.CocoMetric'
    assert 'custom_imports' not in plain


def test_no_student(root):
    cfg = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    with pytest.raises(ValueError, match='has no model.student'):
        student_config(cfg)
