# Copyright (c) sskd_mm authors. All rights reserved.
"""tools/study.py from a YAML file to a table."""
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from tool_process import ToolProcess


@pytest.fixture(scope='module')
def study(tmp_path_factory, root, cifar):
    """A study of one pair that was run; its folder and how to run it."""
    folder = tmp_path_factory.mktemp('study')
    teacher = 'configs/baselines/cifar10/resnet20_cifar10.py'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config.fromfile(root / teacher).model)
    torch.save(dict(state_dict=model.state_dict()), folder / 'teacher.pth')
    data = {
        f'{key}_dataloader.dataset.data_root': str(cifar)
        for key in ('train', 'val', 'test')
    }
    content = dict(
        title='Which is best?',
        seeds=[0],
        equal_compute='from scratch',
        reference='SSKD',
        options={
            **data, 'train_dataloader.batch_size': 8,
            'model.teacher.cfg': str(root / teacher),
            'train_cfg.accept_weak_teacher': True,
            'param_scheduler': None
        },
        teachers=dict(
            small=dict(
                config=teacher,
                checkpoint=str(folder / 'teacher.pth'),
                options={
                    **data, 'train_cfg.max_epochs': 1
                }),
            unasked=dict(config=teacher, checkpoint='no/such/file.pth')),
        pairs=dict(
            unasked=dict(
                config='configs/sskd/cifar10/resnet56_resnet8_cifar10.py',
                teacher='unasked'),
            tiny=dict(
                config='configs/sskd/cifar10/resnet56_resnet8_cifar10.py',
                teacher='small',
                options=dict(max_epochs=16))),
        methods={
            'from scratch':
            dict(method='configs/_base_/methods/scratch.py'),
            'SSKD':
            dict(
                options={
                    'train_cfg.head.max_epochs': 1,
                    'train_cfg.mimic.param_scheduler': None,
                    'train_cfg.head.param_scheduler': None
                })
        })
    file = folder / 'study.yaml'
    file.write_text(yaml.safe_dump(content, sort_keys=False))

    def run(*arguments):
        return start(root, folder, *arguments).finish()

    return folder / 'out', run, run()


def start(root, folder, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return ToolProcess('tools/study.py', folder / 'study.yaml', '--pairs',
                           'tiny', '--work-dir', folder / 'out', *arguments)


def test_equal_compute(study):
    folder, _, _ = study
    costs = [
        json.loads((folder / f'tiny/{name}/seed_0/trial.json').read_text())
        for name in ('from_scratch', 'SSKD')
    ]
    assert costs[1]['gflops'] <= costs[0]['gflops'] * (1 + 1e-6)
    result = json.loads(
        (folder / 'tiny/SSKD/seed_0/result.json').read_text())
    # The shipped proportions: as long as each other, but for an epoch that
    # was left over.
    first, second, _ = (phase['epochs'] for phase in result['phases'])
    assert second - first in (0, 1)
    assert costs[1]['last'] == result['student']['accuracy/top1']
    with np.load(folder / 'tiny/SSKD/seed_0/bootstrap.npz') as resampled:
        for name, scores in zip(resampled['names'], resampled['scores']):
            assert scores[0] == pytest.approx(result['student'][name])
        assert len(resampled['names']) == 2
    assert set(costs[1]['alignment']) == {
        'layer1', 'layer2', 'layer3', 'neck', 'fc'
    }


def test_report(study):
    folder, _, printed = study
    table = (folder / 'table.md').read_text()
    assert table in printed
    assert '| 95 % interval | SSKD minus this |' in table
    for row in ('| teacher |', '| from scratch |', '| SSKD |',
                '| SSKD | neck |'):
        assert row in table
    assert (folder / 'tiny.png').exists()


def test_what_is_finished_is_kept(study):
    folder, run, _ = study
    trained = folder / 'tiny/SSKD/seed_0/output.txt'
    before = trained.stat().st_mtime_ns
    printed = run('--only', 'SSKD')
    assert trained.stat().st_mtime_ns == before
    assert '| from scratch |' in printed and '| SSKD |' in printed
    # What is not asked for need not be there, and no more than its figures.
    (folder / 'tiny/from_scratch/seed_0/trial.json').unlink()
    assert '| from scratch |' not in run('--only', 'SSKD')
    assert run('--plan').count('GFLOPs an image') == 2


def test_changed_settings(study, root):
    folder, _, _ = study
    file = folder.parent / 'study.yaml'
    content = yaml.safe_load(file.read_text())
    content['methods']['SSKD']['options']['train_cfg.head.max_epochs'] = 2
    changed = folder.parent / 'changed.yaml'
    changed.write_text(yaml.safe_dump(content, sort_keys=False))
    before = (folder / 'tiny/SSKD/seed_0/trial.py').read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        process = ToolProcess('tools/study.py', changed, '--pairs', 'tiny',
                              '--work-dir', folder, '--only', 'SSKD')
    printed = process.stdout.read()
    assert process.wait() == 2
    assert 'tiny/SSKD/seed_0' in printed and '--changed retrain' in printed
    assert 'train_cfg.head.max_epochs was 1, is 2' in printed
    assert (folder / 'tiny/SSKD/seed_0/trial.py').read_text() == before


def processes(folder):
    """Those that train below a folder, as Linux lists them."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        try:
            if f'{folder}/'.encode() in (process / 'cmdline').read_bytes():
                found.append(process)
        except (FileNotFoundError, ProcessLookupError):  # has just ended
            pass
    return found


def test_stopped_with_its_trainings(study, root, monkeypatch):
    folder, _, _ = study
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    process = start(root, folder.parent, '--seeds', 1, 2, '--jobs', 2)
    trials = folder / 'tiny'
    end = time.monotonic() + 120
    while len(processes(trials)) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    threads = f'OMP_NUM_THREADS={max(1, os.cpu_count() // 2)}'
    for training in processes(trials):
        environment = (training / 'environ').read_bytes().split(b'\0')
        assert threads.encode() in environment
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert not processes(trials)
    # What waited did not begin.
    assert not list(trials.glob('*/seed_2'))
