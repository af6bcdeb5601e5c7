# Copyright (c) sskd_mm authors. All rights reserved.
"""The command ``sskd``, and how the tools report errors."""
import importlib
import json
import os
import runpy
import subprocess
import sys

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from tool_process import ToolProcess
from torch.utils.data import Dataset

from sskd_mm_cli import run_tool
from sskd_mm_cli.main import COMMANDS
from sskd_mm_cli.run_tool import LOOPS

#: Prints what each prints, and whether that took an import of torch.
HELP = '''
import contextlib, io, json, runpy, sys
from sskd_mm_cli.main import main
shown = {}
for command in json.loads(sys.argv[1]):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            sys.argv = [*command, '--help']
            if command[0] == 'sskd':
                main()
            else:
                runpy.run_path(command[0], run_name='__main__')
        except SystemExit as end:
            assert end.code == 0, command
    slow = {'torch', 'mmengine', 'sskd_mm'} & set(sys.modules)
    assert not slow, (command, slow)
    shown[' '.join(command)] = output.getvalue()
print(json.dumps(shown))
'''


def test_help_without_torch(root):
    """Of each command and of each tool."""
    tools = [
        str(path.relative_to(root)) for path in root.glob('tools/**/*.py')
    ]
    assert len(tools) >= 16
    commands = [['sskd'], *(['sskd', name] for name in COMMANDS),
                *([tool] for tool in tools)]
    result = subprocess.run(
        [sys.executable, '-c', HELP, json.dumps(commands)],
        cwd=root,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(root), COLUMNS='80'))
    assert result.returncode == 0, result.stderr
    shown = json.loads(result.stdout)
    for name in COMMANDS:
        assert f'\n  {name} ' in shown['sskd']
        assert shown[f'sskd {name}'].startswith(f'usage: sskd {name} [-h]')
        assert '--debug' in shown[f'sskd {name}']
    for tool in tools:
        assert shown[tool].startswith(f'usage: {os.path.basename(tool)} [-h]')
    # Each is its tool's parser.
    for name, tool in (('plan', 'train'), ('face-eval', 'face_eval')):
        options = shown[f'sskd {name}'].split('options:')[1]
        assert options == shown[f'tools/{tool}.py'].split('options:')[1]


def test_module(tmp_path, monkeypatch, capsys):
    """``python -m sskd_mm`` runs scripts and commands."""

    def call(*args):
        monkeypatch.setattr(sys, 'argv', ['sskd_mm', *map(str, args)])
        runpy.run_module('sskd_mm', run_name='__main__')
        return capsys.readouterr().out

    script = tmp_path / 'script.py'
    script.write_text('import sys; print(sys.argv[1:])')
    assert call(script, 'a', '--help') == "['a', '--help']\n"
    for args, text in ((['train', '--help'], 'usage: sskd train'),
                       (['--help'], 'python -m sskd_mm SCRIPT'),
                       (['--help'], 'make-config')):
        with pytest.raises(SystemExit, match='^0$'):
            call(*args)
        assert text in capsys.readouterr().out
    with pytest.raises(SystemExit, match='python -m sskd_mm SCRIPT'):
        call()


@pytest.fixture
def fail(root, tmp_path, monkeypatch, capsys):
    """Calls a tool that has to fail; returns its status and what it says."""
    monkeypatch.chdir(tmp_path)

    def fail(tool, *args):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(root / tool), run_name='__main__')
        return end.value.code, capsys.readouterr().err

    return fail


def test_user_errors(fail, root, tmp_path, monkeypatch):
    config = root / 'configs/_base_/models/cifar_resnet20.py'
    assert fail('tools/test.py', config, 'nothing.pth') == (
        2, "test.py: error: The checkpoint 'nothing.pth' is not there.\n")
    code, said = fail('tools/train.py', config, '--cfg-options', 'lr')
    assert code == 2 and "--cfg-options: 'lr' is not key=value" in said

    # A file that is damaged is no wrong usage.
    (tmp_path / 'cut.pth').write_bytes(b'PK\x03\x04 and no more')
    code, said = fail('tools/model_converters/cifar_to_mmpretrain.py', config,
                      'cut.pth', 'out.pth')
    assert code == 1 and said.startswith('cifar_to_mmpretrain.py: error: ')
    assert 'cut.pth' in said and 'Error:' not in said

    # A config is wrong.
    assert fail('tools/train.py', 'missing.py') == (
        2, "train.py: error: The config 'missing.py' is not there.\n")
    (tmp_path / 'base.py').write_text('lr = .1\nmodel = dict(')
    (tmp_path / 'child.py').write_text('_base_ = "base.py"')
    code, said = fail('tools/train.py', 'child.py')
    assert code == 2 and f"error: '{tmp_path}/base.py', line 2: " in said
    # What other code raises is named by type and place.
    (tmp_path / 'unknown.py').write_text('lr = .1\nmodel = nowhere')
    code, said = fail('tools/train.py', 'unknown.py')
    assert code == 2 and 'Traceback' not in said
    assert said.startswith("train.py: error: NameError: name 'nowhere' is not")
    assert 'unknown.py, line 2; --debug shows the traceback' in said
    monkeypatch.setattr(sys, 'argv', ['train.py', 'missing.py', '--debug'])
    with pytest.raises(FileNotFoundError):
        runpy.run_path(str(root / 'tools/train.py'), run_name='__main__')


@pytest.mark.parametrize('statement, said', [
    ('raise ValueError("wrong")', 'wrong'),
    ('raise KeyError("wrong")', 'wrong'),
    ('{}["wrong"]', 'KeyError: wrong'),
    ('assert False, "wrong"', 'AssertionError: wrong'),
])
def test_bugs_are_no_messages(root, capsys, statement, said):
    """Of our own code a raise statement alone has been written for users."""
    code = compile(statement, str(root / 'sskd_mm/some.py'), 'exec')
    with pytest.raises(SystemExit):
        run_tool(lambda: exec(code))
    assert capsys.readouterr().err.splitlines()[0].endswith(f'error: {said}')


class Fails(BaseModel):

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode):
        raise RuntimeError('in the model')


@DATASETS.register_module()
class HasOneImage(Dataset):

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index:
            raise OSError('in the data')
        return torch.zeros(1)


@pytest.mark.parametrize('train_cfg, batch_size, message', [
    (dict(by_epoch=True, max_epochs=1), 1, 'model'),
    (dict(by_epoch=False, max_iters=2), 2, 'data'),
])
def test_errors_while_training(tmp_path, train_cfg, batch_size, message):
    """They keep their traceback: nobody trains again to see it."""
    runner = Runner(
        Fails(),
        str(tmp_path),
        train_dataloader=dict(
            batch_size=batch_size,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='HasOneImage')),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
        experiment_name=message)
    with pytest.raises((RuntimeError, OSError), match=f'in the {message}'):
        run_tool(runner.train)


def test_names_of_loops():
    for module, name in LOOPS:
        classes = vars(importlib.import_module(module)).values()
        assert any(name in vars(cls) for cls in classes
                   if isinstance(cls, type) and cls.__module__ == module)


def test_each_process_fails(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = ToolProcess(
        root / 'tools/train.py',
        'missing.py',
        '--launcher',
        'pytorch',
        processes=2)
    assert process.stdout.read().count('train.py: error: ') == 2
    process.wait()
    assert process.returncodes == [2, 2]
