# Copyright (c) sskd_mm authors. All rights reserved.
"""The tools as a user calls them: in processes of their own, but where a
message alone matters."""
import json
import os
import os.path as osp
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from tool_process import ToolProcess


def call(*args, cwd, **env):
    result = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'COLUMNS': '100',
            **env
        })
    result.output = result.stdout + result.stderr
    return result


def fork(*args, cwd):
    """The same, without the time that importing takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        process = ToolProcess(*args)
    process.output = process.stdout.read()
    process.wait()
    return process


def mmdet_tool(name):
    folder = osp.dirname(find_spec('mmdet').origin)
    return osp.join(folder, '.mim', 'tools', name)


@pytest.fixture(scope='module')
def project(digits, teacher_checkpoint, root, tmp_path_factory):
    """A user's project: a copy of configs/ beside the data and a teacher."""
    folder = tmp_path_factory.mktemp('user')
    shutil.copytree(root / 'configs', folder / 'configs')
    os.symlink(digits / 'data', folder / 'data')
    (folder / 'work_dirs').mkdir()
    shutil.copy(teacher_checkpoint, folder / 'work_dirs/teacher.pth')
    return folder


CONFIG = 'configs/sskd/faster_rcnn_r18_digits.py'
PLAIN = 'configs/baselines/faster-rcnn_r18_fpn_digits.py'
TEACHER = 'model.teacher.checkpoint=work_dirs/teacher.pth'
# A random teacher's student finds nothing above the usual threshold.
ALL_SCORES = 'model.student.test_cfg.rcnn.score_thr=0.0'
SHORT = ('--cfg-options', 'train_cfg.mimic.max_epochs=1',
         'train_cfg.head.max_epochs=1', 'train_cfg.finetune.max_epochs=1',
         'train_cfg.accept_weak_teacher=True',
         TEACHER, ALL_SCORES)


@pytest.fixture(scope='module')
def trained(project):
    """By mmdet's own train.py; test_drop_in.py sees that it needs nothing but
    custom_imports."""
    result = fork(
        mmdet_tool('train.py'),
        CONFIG,
        '--work-dir',
        'work_dirs/run',
        *SHORT,
        cwd=project)
    assert result.returncode == 0, result.output
    return project / 'work_dirs/run'


def test_mmdet_s_own_train_tool(trained):
    result = json.loads((trained / 'result.json').read_text())
    assert [p['name'] for p in result['phases']
            ] == ['mimic/neck', 'head', 'finetune']
    assert result['student']['epoch'] == sum(
        p['epochs'] for p in result['phases'])


def test_metrics_are_the_same_everywhere(trained, project, root):
    """Our test tool with either config, mmdet's with the plain one."""
    checkpoint = (trained / 'last_checkpoint').read_text()
    plain = ('--cfg-options', 'model.test_cfg.rcnn.score_thr=0.0')
    commands = (
        (call, root / 'tools/test.py', CONFIG, checkpoint, '--cfg-options',
         ALL_SCORES),
        (fork, root / 'tools/test.py', PLAIN, checkpoint, *plain),
        (call, '-m', 'sskd_mm', mmdet_tool('test.py'), PLAIN, checkpoint,
         *plain),
    )
    metrics = []
    for k, (start, *command) in enumerate(commands):
        result = start(
            *command, '--work-dir', f'work_dirs/test{k}', cwd=project)
        assert result.returncode == 0, result.output
        file, = (project / f'work_dirs/test{k}').glob('*/*.json')
        values = json.loads(file.read_text())
        metrics.append(
            {k: v
             for k, v in values.items() if k.startswith('coco')})
    assert metrics[0] and metrics[0] == metrics[1] == metrics[2]


def test_dry_run(project, root, call_tool, monkeypatch, capfd):
    before = sorted(os.listdir(project / 'work_dirs'))
    result = call(
        root / 'tools/train.py',
        CONFIG,
        '--dry-run',
        '--cfg-options',
        TEACHER,
        cwd=project)
    assert result.returncode == 0, result.output
    for text in ('mimic/neck', 'head', 'finetune', 'ground truth'):
        assert text in result.stdout
    monkeypatch.chdir(project)
    call_tool('tools/train.py', CONFIG, '--dry-run', '--json', '--cfg-options',
              TEACHER)
    plan = json.loads(capfd.readouterr().out)
    assert [p['name'] for p in plan['phases']
            ] == ['mimic/neck', 'head', 'finetune']
    assert sorted(os.listdir(project / 'work_dirs')) == before


def test_dry_run_of_a_plain_config(project, call_tool, monkeypatch):
    monkeypatch.chdir(project)
    with pytest.raises(
            ValueError,
            match='shows the phases of a StageByStageTrainLoop'):
        call_tool('tools/train.py', PLAIN, '--dry-run')


def test_coco_that_is_not_there(tmp_path, root, call_tool, monkeypatch,
                                capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
            FileNotFoundError,
            match=f'{tmp_path}/data/coco/annotations/instances_train2017.json'
    ):
        call_tool('tools/train.py',
                  root / 'configs/sskd/faster_rcnn_r18_coco.py')
    assert 'load' not in capfd.readouterr().out, (
        'it stops before building anything')
    assert os.listdir(tmp_path) == []


def test_missing_checkpoint(project, call_tool, monkeypatch):
    monkeypatch.chdir(project)
    with pytest.raises(
            FileNotFoundError,
            match="The checkpoint 'nothing.pth' is not there"):
        call_tool('tools/test.py', PLAIN, 'nothing.pth')


@pytest.mark.parametrize('config', [PLAIN, CONFIG])
def test_checkpoint_of_another_network(project, call_tool, monkeypatch,
                                       teacher_checkpoint, config):
    monkeypatch.chdir(project)
    with pytest.raises(ValueError, match=r'(?s)does not fit.*Another shape'):
        call_tool('tools/test.py', config, teacher_checkpoint)


class Hostile:

    def __reduce__(self):
        return os.mkdir, (self.path, )


@pytest.mark.slow
def test_a_stranger_s_pickle(project, root, tmp_path):
    """It runs with no tool, unless it is named."""
    trap = tmp_path / 'it_ran'
    Hostile.path = str(trap)
    teacher = torch.load(
        project / 'work_dirs/teacher.pth', weights_only=True)
    hostile = tmp_path / 'hostile.pth'
    torch.save(dict(teacher, meta=Hostile()), hostile)
    plain = 'configs/baselines/faster-rcnn_r50_fpn_digits.py'
    options = ('--cfg-options', TEACHER)
    for start, *command in (
        (fork, root / 'tools/test.py', plain, hostile),
        (call, '-m', 'sskd_mm', mmdet_tool('test.py'), plain, hostile),
        (call, mmdet_tool('train.py'), CONFIG, *options,
         f'load_from={hostile}'),
    ):
        result = start(*command, '--work-dir', tmp_path / 'run', cwd=project)
        assert result.returncode != 0
        assert f'--allow-pickle {hostile}' in result.output, result.output
    assert not trap.exists()
    for command in (
        (root / 'tools/test.py', plain, hostile),
        (root / 'tools/train.py', CONFIG, '--dry-run', '--cfg-options',
         f'model.teacher.checkpoint={hostile}'),
    ):
        result = fork(
            *command, '--allow-pickle', hostile, '--work-dir',
            tmp_path / 'run', cwd=project)
        assert result.returncode == 0, result.output
        trap.rmdir()
