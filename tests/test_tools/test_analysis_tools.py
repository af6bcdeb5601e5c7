# Copyright (c) sskd_mm authors. All rights reserved.
import json

import cv2
import numpy as np
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


def test_alignment_with_itself(call_tool, student, tmp_path):
    """Of one checkpoint taken twice every figure is perfect."""
    call_tool('tools/analysis_tools/alignment.py', DISTILLED, student, '-o',
              tmp_path / 'x.png', '--cfg-options',
              'model.teacher.cfg=configs/digits/small.py',
              f'model.teacher.checkpoint={student}')
    result = json.loads((tmp_path / 'x.json').read_text())
    assert list(result['taps']) == [
        'stage1', 'stage2', 'stage3', 'stage4', 'neck'
    ]
    for values in result['taps'].values():
        # The cosine between zeros, which dead positions have, is 0.
        assert values == pytest.approx(
            dict(cka=1, cosine=1, relative_l2=0), abs=0.01)
    matrix = np.array(result['cka']['matrix'])
    # The FPN has three levels.
    assert result['cka']['student'][4:] == ['neck[0]', 'neck[1]', 'neck[2]']
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert matrix.min() >= 0 and matrix[0, -1] < 0.99
    assert cv2.imread(str(tmp_path / 'x.png')).std() > 5


def test_alignment_leaves_out_what_needs_an_adapter(call_tool, student,
                                                    tmp_path):
    call_tool('tools/analysis_tools/alignment.py', DISTILLED, student, '-o',
              tmp_path / 'x.png')
    taps = json.loads((tmp_path / 'x.json').read_text())['taps']
    assert list(taps['stage4']) == ['cka']
    assert list(taps['neck']) == ['relative_l2', 'cosine', 'cka']


def test_feature_maps(call_tool, student, tmp_path):
    call_tool('tools/analysis_tools/feature_maps.py', DISTILLED, student,
              '-o', tmp_path / 'x.png', '--images', 2)
    picture = cv2.imread(str(tmp_path / 'x.png'))
    # Two rows an image; the image, four stages and three levels of the FPN.
    assert picture.shape == (2 * 360, 8 * 180, 3)
    assert picture.std() > 5


def test_complexity(call_tool, tmp_path, capsys):
    call_tool('tools/analysis_tools/complexity.py', DISTILLED, '-o',
              tmp_path / 'x.png')
    out = capsys.readouterr().out
    model = build_model(Config.fromfile('configs/digits/small.py'))
    assert f'{sum(p.numel() for p in model.parameters()):,}' in out

    def row(part):
        # The teacher is first.
        return next(line for line in out.split('\n') if part in line)

    # A convolution of 3 x 3 from 16 to 32 channels, and its batch norm.
    assert f'{9 * 16 * 32 + 64:,}' in row('backbone.stage3')
    assert f'{2 * 9 * 16 * 32 * 8 * 8 / 1e9:.4f}' in row('backbone.stage3')
    # Eight convolutions of 16 channels, nine anchors of 3 classes and 4
    # coordinates, over three levels.
    assert f'{2 * 9 * 16 * (8 * 16 + 9 * 7) * (256 + 64 + 16) / 1e9:.4f}' in (
        row('bbox_head'))
    assert cv2.imread(str(tmp_path / 'x.png')).std() > 5


def test_curves(call_tool, tmp_path):
    file = tmp_path / 'run/1/vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(
        json.dumps(dict(iter=i, loss=1 / i, loss_mimic_neck=1 / i))
        for i in (1, 2, 3)))
    call_tool('tools/analysis_tools/curves.py', tmp_path / 'run', '-o',
              tmp_path / 'x.png')
    assert cv2.imread(str(tmp_path / 'x.png')).std() > 5
    with pytest.raises(FileNotFoundError, match='holds no losses'):
        call_tool('tools/analysis_tools/curves.py', tmp_path / 'run',
                  tmp_path / 'none', '-o', tmp_path / 'y.png')
