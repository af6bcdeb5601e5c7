# Copyright (c) sskd_mm authors. All rights reserved.
"""The configs for face recognition."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS, DefaultScope
from mmengine.runner import Runner
from shipped_schedule import check_schedule

from sskd_mm.distillers.teacher import read_teacher_config
from sskd_mm.stages import parse_stages

DATA = os.environ.get('SSKD_TEST_DATA')
ROOT = Path(__file__).parent.parent / 'configs'
PLAIN = sorted((ROOT / 'baselines/face').glob('*.py'))
DISTILLED = sorted((ROOT / 'sskd/face').glob('*.py'))
IDENTITIES = dict(ms1mv3=93431, casia=10572, orl=20)


def _build(model):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        with torch.device('meta'):
            return MODELS.build(model)


def test_they_are_there():
    assert len(PLAIN) == 8 and len(DISTILLED) == 6


@pytest.mark.parametrize('path', PLAIN, ids=lambda path: path.stem)
def test_plain(path):
    cfg = Config.fromfile(path)
    model = _build(cfg.model)
    assert cfg.default_scope == 'mmpretrain'
    name = path.stem.rpartition('_')[2]
    assert model.head.num_classes == IDENTITIES[name]
    assert cfg.train_cfg.max_epochs == cfg.max_epochs
    # The mean and the range of [0, 255], in RGB.
    assert cfg.data_preprocessor.to_rgb
    assert cfg.data_preprocessor.mean == cfg.data_preprocessor.std == [127.5
                                                                       ] * 3


@pytest.mark.parametrize('path', DISTILLED, ids=lambda path: path.stem)
def test_distilled(path):
    """Student, teacher and stages fit; as many epochs as from scratch."""
    cfg = Config.fromfile(path)
    check_schedule(path.stem, cfg)
    teacher_path, student, data = path.stem.replace('_unlabelled',
                                                    '').split('_')
    plain = Config.fromfile(ROOT / f'baselines/face/{student}_{data}.py')
    distiller = _build(cfg.model)
    keys = list(_build(plain.model).state_dict())
    if path.stem.endswith('unlabelled'):
        keys.remove('head.fc.weight')
    assert list(distiller.state_dict()) == keys
    teacher = read_teacher_config(cfg.model.teacher.cfg)
    assert Path(cfg.model.teacher.cfg).resolve() == (
        ROOT / f'baselines/face/{teacher_path}_{data}.py')
    assert cfg.model.teacher.checkpoint.endswith(
        f'{teacher_path}_{data}/epoch_{teacher.max_epochs}.pth')
    stages = parse_stages(cfg.model.stages, distiller.student,
                          [_build(teacher.model)])
    assert [stage.name for stage in stages
            ] == ['layer1', 'layer2', 'layer3', 'layer4', 'features']
    # It inherits all class centres, if it has any.
    head = distiller.student.head.state_dict()
    if head:
        assert cfg.model.inherit == ['head']
        theirs = _build(teacher.model).head.state_dict()
        assert {k: v.shape
                for k, v in head.items()
                } == {k: v.shape
                      for k, v in theirs.items()}
    epochs = len(cfg.train_cfg.schedule) * cfg.train_cfg.mimic.max_epochs
    assert epochs + cfg.train_cfg.head.max_epochs == cfg.max_epochs


@METRICS.register_module()
class SeesEmbeddings(BaseMetric):
    """Whether each image comes with an embedding of its own."""

    default_prefix = 'face'

    def process(self, data_batch, data_samples):
        self.results += [
            sample['embedding'].clone() for sample in data_samples
        ]

    def compute_metrics(self, results):
        return dict(different=len({tuple(x.tolist()) for x in results}))


@pytest.mark.skipif(not DATA, reason='SSKD_TEST_DATA is not set')
@pytest.mark.parametrize('name', [
    'iresnet18_mobilefacenet_orl', 'iresnet18_mobilefacenet_orl_unlabelled'
])
def test_orl(name, tmp_path):
    """All phases on some of the real faces."""
    subprocess.run([
        sys.executable,
        ROOT.parent / 'tools/dataset_converters/make_face_lists.py',
        f'{DATA}/orl_faces', '--out', tmp_path
    ],
                   check=True)
    cfg = Config.fromfile(ROOT / f'sskd/face/{name}.py')
    teacher = read_teacher_config(cfg.model.teacher.cfg).model
    cfg.model.teacher.checkpoint = str(tmp_path / 'teacher.pth')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        network = MODELS.build(teacher)
        network.init_weights()
    torch.save(
        dict(state_dict=network.state_dict()), cfg.model.teacher.checkpoint)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.batch_size = 4
        loader.dataset.data_root = f'{DATA}/orl_faces/'
        loader.dataset.ann_file = str(tmp_path / loader.dataset.ann_file)
        loader.dataset.indices = 8
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    cfg.val_evaluator = dict(type='SeesEmbeddings')
    cfg.train_cfg.mimic.max_epochs = 1
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = name
    Runner.from_cfg(cfg).train()
    result = json.loads((tmp_path / 'result.json').read_text())
    phases = ['mimic/joint', 'mimic/last']
    phases += ['head'] * ('unlabelled' not in name)
    assert [phase['name'] for phase in result['phases']] == phases
    assert result['student']['face/different'] == 8
    assert result['student_curve'][-1] == result['student']
