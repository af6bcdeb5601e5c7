# Copyright (c) sskd_mm authors. All rights reserved.
"""What the quickstart does with what is finished, stopped or foreign, and
what it prints. The whole of it takes minutes."""
import argparse
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

import cv2
import pytest
import torch
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.analysis import read_losses
from sskd_mm.engine import StageByStageTrainLoop


@pytest.fixture
def quickstart(root):
    spec = importlib.util.spec_from_file_location('quickstart',
                                                  root / 'tools/quickstart.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def finished(root, tmp_path, quickstart):
    """A work directory in which all three have been trained."""
    for name, training in quickstart.TRAININGS.items():
        folder = tmp_path / name
        (folder / 'log/vis_data').mkdir(parents=True)
        # The distilled student is a plain one.
        plain = quickstart.TRAININGS[
            'scratch' if name == 'sskd' else name].config
        cfg = Config.fromfile(root / 'configs' / plain)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
        torch.save(
            dict(state_dict=model.state_dict()), folder / 'epoch_1.pth')
        # As of a folder that was moved.
        (folder / 'last_checkpoint').write_text(f'/before/{name}/epoch_1.pth')
        mAP = dict(teacher=0.6, scratch=0.4, sskd=0.54)[name]
        (folder / 'metrics.json').write_text(
            json.dumps({
                'config': training.config,
                'metrics': {
                    'coco/bbox_mAP': mAP,
                    'coco/bbox_mAP_50': 0.456
                },
                'epochs': 8,
                'seconds': 60.,
                'resumed': name == 'sskd'
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


def test_a_stopped_run_goes_on_in_its_own_folder(quickstart, finished, digits,
                                                 monkeypatch, capsys):
    """Two runs in one process, the distillation's phases among them."""
    # Other tests have had visualizers of these names.
    DetLocalVisualizer._instance_dict.clear()
    args = argparse.Namespace(
        work_dir=finished, data_root=digits / 'data/digits')
    make_config = quickstart.make_config

    def short(name, args):
        cfg = make_config(name, args)
        cfg.train_dataloader.dataset.indices = 8
        if name == 'sskd':
            cfg.train_cfg.accept_weak_teacher = True
            for phase in ('mimic', 'head', 'finetune'):
                cfg.train_cfg[phase].max_epochs = 1
        else:
            cfg.train_cfg.max_epochs = 1
        return cfg

    monkeypatch.setattr(quickstart, 'make_config', short)
    monkeypatch.setattr(quickstart, 'LONG', 100)
    steps = quickstart.Steps(3)
    for name in ('scratch', 'sskd'):
        folder = finished / name
        for file in ('last_checkpoint', 'metrics.json'):
            (folder / file).unlink()
        (folder / 'log/vis_data/scalars.json').unlink()
        result = quickstart.train(name, args, steps)
        assert not result['resumed']
        points = read_losses(folder)
        assert len(points) == result['epochs'] == dict(scratch=1, sskd=3)[name]
    assert 'loss_mimic_neck' in points[0]

    # Killed after its last checkpoint.
    (folder / 'metrics.json').unlink()
    monkeypatch.setattr(StageByStageTrainLoop, 'run_epoch', None)
    again = quickstart.train('sskd', args, steps)
    assert again['resumed'] and again['metrics'] == result['metrics']
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith('Step')] == [
        'Step 1 of 3: student from scratch, 1 epochs (about 65 s)',
        'Step 2 of 3: student by SSKD, 3 epochs (about 55 s)',
        'Step 3 of 3: student by SSKD, 3 epochs, from where it was stopped '
        '(about 55 s)'
    ]


def test_finished_runs_are_kept_and_compared(quickstart, finished, digits,
                                             monkeypatch, capsys):
    data = finished / 'data'
    monkeypatch.setattr(
        'sskd_mm.datasets.make_digits_detection', lambda folder: os.symlink(
            digits / 'data/digits', folder))
    for number in ('REPEATS', 'SHOWN'):
        monkeypatch.setattr(quickstart, number, 2)
    monkeypatch.setattr(sys, 'argv', [
        'quickstart.py', '--work-dir',
        str(finished), '--data-root',
        str(data)
    ])
    monkeypatch.setenv('COLUMNS', '80')
    quickstart.main()
    output = capsys.readouterr()
    assert output.err.count('finished before, kept') == 3
    for text in ('student from scratch', 'student by SSKD', '0.540',
                 '60 s *', 'since it was resumed',
                 '14.0 points more than training it from scratch',
                 '90 % of a teacher 3.1 times its size'):
        assert text in output.out, text
    assert max(map(len, output.out.partition('*')[0].splitlines())) <= 80

    # Each next command names a tool and files that are there.
    commands = re.findall('^  # .+:\n  (.+)$', output.out, re.MULTILINE)
    assert len(commands) == 3
    for line in commands:
        _, tool, *words = shlex.split(line)
        assert Path(tool).is_file()
        for word in words:
            if str(finished) in word and not word.endswith('student.py'):
                assert Path(word).exists()

    result = json.loads((finished / 'result.json').read_text())
    assert result['teacher']['metrics']['coco/bbox_mAP'] == 0.6
    assert result['teacher']['parameters'] > 3 * result['sskd']['parameters']
    assert result['teacher']['gflops'] > result['scratch']['gflops'] > 0
    assert result['machine']['threads'] == torch.get_num_threads()
    for picture in ('detections.png', 'losses.png'):
        assert cv2.imread(str(finished / picture)).std() > 5


def test_a_training_of_another_release_is_refused(quickstart, finished):
    file = finished / 'teacher/metrics.json'
    file.write_text(file.read_text().replace('faster-rcnn', 'gfl'))
    args = argparse.Namespace(work_dir=finished, data_root=finished)
    with pytest.raises(SystemExit, match='teacher holds a training of ano'):
        quickstart.train('teacher', args, quickstart.Steps(3))


def test_later_steps_take_as_long_as_earlier_ones_suggest(
        quickstart, monkeypatch, capsys):
    clock = iter((0, 9, 9, 129, 129, 130))
    monkeypatch.setattr(quickstart.time, 'monotonic', lambda: next(clock))
    steps = quickstart.Steps(4)
    for seconds in (1, 40, 20):
        with steps.step('work', seconds):
            pass
    steps.skip('more work', Path('file'))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        'Step 1 of 4: work (about 1 s)', 'Step 2 of 4: work (about 40 s)',
        'Step 3 of 4: work (about 60 s)',
        'Step 4 of 4: more work: finished before, kept (file)'
    ]
