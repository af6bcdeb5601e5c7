# Copyright (c) sskd_mm authors. All rights reserved.
import importlib.util
import sys
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from types import ModuleType
from typing import List, Optional

from .run_tool import run_tool

#: For each command, the tool with its first arguments, and what it does.
COMMANDS = {
    'quickstart': ('quickstart.py', 'try it: distil a small detector'),
    'doctor': ('doctor.py', 'check this machine'),
    'make-config': ('make_config.py', 'write a distillation config'),
    'plan': ('train.py --dry-run', 'check a config and print its phases'),
    'train': ('train.py', 'distil a model, or train it without a teacher'),
    'test': ('test.py', 'evaluate a checkpoint'),
    'report': ('report.py', 'write an HTML report of training runs'),
    'study': ('study.py', 'compare methods over several seeds'),
    'face-eval': ('face_eval.py', 'evaluate face recognition'),
    'export': ('export_onnx.py', 'export a student to ONNX'),
}


def main(argv: Optional[List[str]] = None) -> None:
    """The console command ``sskd``.

    Each command is a tool of ``tools/``: its parser, its code.

    Args:
        argv (list[str], optional): A command and its arguments. Defaults to
            those of the process.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = ArgumentParser(
        prog='sskd',
        usage='sskd COMMAND [ARGUMENT ...]',
        description='Distil OpenMMLab networks, stage by stage.\n\n'
        'commands:\n' + '\n'.join(f'  {name:12} {text}'
                                  for name, (_, text) in COMMANDS.items()),
        epilog='sskd COMMAND --help lists the arguments of a command.',
        formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        'command', choices=COMMANDS, metavar='COMMAND', help=SUPPRESS)
    command = parser.parse_args(argv[:1]).command
    script, *first = COMMANDS[command][0].split()
    sys.argv = [f'sskd {command}', *first, *argv[1:]]
    run_tool(_load(script).main)


def _load(script: str) -> ModuleType:
    """Load a tool: from ``.mim`` in a wheel or an editable install, from
    ``tools`` in a plain checkout."""
    root = Path(__file__).resolve().parent.parent
    path = root / 'sskd_mm/.mim/tools' / script
    if not path.exists():
        path = root / 'tools' / script
    spec = importlib.util.spec_from_file_location(f'sskd_{path.stem}', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool
