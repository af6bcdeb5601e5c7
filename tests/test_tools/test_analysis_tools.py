# Copyright (c) sskd_mm authors. All rights reserved.
import json

import pytest
import torch
from mmengine.config import Config

from sskd_mm.models import build_model

DISTILLED = 'configs/digits/distilled.py'


@pytest.fixture(autouse=True)
def in_project(own_project, monkeypatch):
    monkeypatch.chdir(own_project)


@pytest.fixture(scope='module')
def student(own_project, tmp_path_factory):
    """Random weights of the student."""
    path = tmp_path_factory.mktemp('student') / 'student.pth'
    model = build_model(
        Config.fromfile(own_project / 'configs/digits/small.py'))
    torch.manual_seed(0)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def test_benchmark(call_tool, student, tmp_path, capsys):
    call_tool('tools/analysis_tools/benchmark.py', DISTILLED, '--checkpoint',
              student, '--repeats', 2, '--out', tmp_path / 'speed.json')
    result = json.loads((tmp_path / 'speed.json').read_text())
    assert list(result['networks']) == ['teacher', 'student']
    for name, config in (('teacher', 'large'), ('student', 'small')):
        model = build_model(Config.fromfile(f'configs/digits/{config}.py'))
        row = result['networks'][name]
        assert row['parameters'] == sum(
            p.numel() for p in model.parameters())
        assert row['image_size'] == [64, 64]
        assert row['p5_ms'] <= row['median_ms'] <= row['p95_ms']
    assert 'RetinaNet' in capsys.readouterr().out


def test_benchmark_of_a_plain_classifier(call_tool, classifier_cfg, tmp_path):
    cfg = classifier_cfg(tmp_path, dict(type='ResNet', depth=18), 512)
    cfg.dump(tmp_path / 'plain.py')
    call_tool('tools/analysis_tools/benchmark.py', tmp_path / 'plain.py',
              '--batch-size', 4, '--repeats', 2, '--out',
              tmp_path / 'speed.json')
    result = json.loads((tmp_path / 'speed.json').read_text())
    row = result['networks']['model']
    # ResNet-18 has 1.814 G multiply-adds at 224; its classifier is small here.
    assert row['gflops'] == pytest.approx(
        2 * (1.814 - 0.0005) * (32 / 224)**2, rel=0.01)
