# Copyright (c) sskd_mm authors. All rights reserved.
"""What the quickstart does with what is finished. Its three trainings are
those of other tests; the whole of it takes minutes."""
import argparse
import importlib.util
import json
import os
import shutil
import sys

import cv2
import pytest
import torch
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.analysis import read_losses


@pytest.fixture
def quickstart(root):
    spec = importlib.util.spec_from_file_location('quickstart',
                                                  root / 'tools/quickstart.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def finished(root, tmp_path):
    """A work directory in which all three have been trained."""
    for name, config in (('teacher', 'faster-rcnn_r50_fpn_digits'),
                         ('scratch', 'faster-rcnn_r18_fpn_digits'),
                         ('sskd', 'faster-rcnn_r18_fpn_digits')):
        folder = tmp_path / name
        (folder / 'log/vis_data').mkdir(parents=True)
        cfg = Config.fromfile(root / f'configs/baselines/{config}.py')
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
        checkpoint = folder / 'epoch_1.pth'
        torch.save(dict(state_dict=model.state_dict()), checkpoint)
        (folder / 'last_checkpoint').write_text(str(checkpoint))
        (folder / 'metrics.json').write_text(
            json.dumps({
                'metrics': {
                    'coco/bbox_mAP': 0.123,
                    'coco/bbox_mAP_50': 0.456
                },
                'epochs': 8,
                'seconds': 60.,
                'resumed': name == 'sskd',
                'parameters': 1000,
                'checkpoint': str(checkpoint)
            }))
        key = 'loss_mimic_neck' if name == 'sskd' else 'loss_cls'
        (folder / 'log/vis_data/scalars.json').write_text(
            json.dumps({
                'iter': 1,
                'loss': 1.,
                key: 1.
            }))
    (tmp_path / 'sskd/result.json').write_text(
        json.dumps(dict(phases=[], seed=0, versions={})))
    return tmp_path


def test_a_run_logs_into_its_own_folder(quickstart, finished, digits,
                                        teacher_checkpoint, monkeypatch):
    """Two runs in one process, the distillation's phases among them."""
    # Other tests have had visualizers of these names.
    DetLocalVisualizer._instance_dict.clear()
    args = argparse.Namespace(
        work_dir=finished, data_root=digits / 'data/digits')
    (finished / 'teacher/last_checkpoint').write_text(teacher_checkpoint)
    make_config = quickstart.make_config

    def short(name, args):
        cfg = make_config(name, args)
        cfg.train_dataloader.dataset.indices = 8
        cfg.resume = False
        if name == 'sskd':
            for phase in ('mimic', 'head', 'finetune'):
                cfg.train_cfg[phase].max_epochs = 1
        else:
            cfg.train_cfg.max_epochs = 1
        return cfg

    monkeypatch.setattr(quickstart, 'make_config', short)
    for name in ('scratch', 'sskd'):
        shutil.rmtree(finished / name)
        quickstart.run(name, args)
        points = read_losses(finished / name)
        assert len(points) == dict(scratch=1, sskd=3)[name]
    assert 'loss_mimic_neck' in points[0]


def test_finished_runs_are_kept_and_compared(quickstart, finished, digits,
                                             monkeypatch, capsys):
    data = finished / 'data'
    monkeypatch.setattr(
        'sskd_mm.datasets.make_digits_detection', lambda folder: os.symlink(
            digits / 'data/digits', folder))
    monkeypatch.setattr(sys, 'argv', [
        'quickstart.py', '--work-dir',
        str(finished), '--data-root',
        str(data)
    ])
    quickstart.main()
    output = capsys.readouterr()
    assert output.err.count('finished before, kept') == 3
    for text in ('student from scratch', 'student by SSKD', '0.123', '0.456',
                 '60 *', 'since it was resumed'):
        assert text in output.out
    result = json.loads((finished / 'result.json').read_text())
    assert result['teacher']['metrics']['coco/bbox_mAP'] == 0.123
    assert result['machine']['threads'] == torch.get_num_threads()
    # Rows: truth, teacher, from scratch, SSKD; six images a row.
    picture = cv2.imread(str(finished / 'detections.png'))
    assert picture.shape[:2] == (4 * 384 + 5 * 6, 6 * 384 + 7 * 6)
    assert cv2.imread(str(finished / 'losses.png')) is not None
