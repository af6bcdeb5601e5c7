# Copyright (c) sskd_mm authors. All rights reserved.
"""Checks a machine: ``python -m sskd_mm.doctor`` is ``sskd doctor``."""
import os
import platform
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Dict, List, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch.hub import get_dir

import sskd_mm_cli.main
from .compat import installed_distributions, mmcv_ext
from .compat.mmcv_ext import EXT_NAME
from .compat.versions import DISTRIBUTIONS, OPTIONAL
from .version import __version__

#: Where configs look for data, what must be there, and how to get it.
DATA = {
    'data/digits':
    ('annotations', 'python tools/dataset_converters/make_digits.py '
     'data/digits'),
    'data/coco': ('annotations', "COCO 2017 in mmdet's layout"),
    'data/cifar10': ('cifar-10-batches-py', "CIFAR-10's python version"),
    'data/cifar100': ('cifar-100-python', "CIFAR-100's python version"),
    'data/imagenet': ('train', "ImageNet in mmpretrain's layout"),
}

#: Optional packages that some tools, tests or configs need.
EXTRAS = ('timm', 'onnx', 'onnxruntime', 'onnxscript', 'faster-coco-eval')

GIB = 2**30


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        name (str): What was checked.
        found (str): What was found.
        status (str): ``'ok'``, ``'note'`` if something optional is missing,
            or ``'problem'``.
        remedy (str): What to do, unless ok.
    """

    name: str
    found: str
    status: str = 'ok'
    remedy: str = ''


def examine() -> List[Finding]:
    """Run all checks.

    Returns:
        list[Finding]: The results, in the order of printing.
    """
    return [
        Finding('sskd_mm', f'{__version__}, Python '
                f'{platform.python_version()}, {platform.system()} '
                f'{platform.machine()}'),
        *_packages(), *_operators(), *_torch(), *_machine(), *_data()
    ]


def _packages() -> List[Finding]:
    found = installed_distributions()
    kinds = {name.startswith('onedl-') for name in found.values()}
    stack = 'onedl' if True in kinds else 'openmmlab'
    findings = []
    if len(kinds) > 1:
        findings.append(
            Finding(
                'stack', f'mixed: {", ".join(found.values())}', 'problem',
                'The maintained packages and the original ones share their '
                'import names. Uninstall all four and pip install '
                "'sskd-mm[onedl]', or 'sskd-mm[openmmlab]'"))
    else:
        kind = 'maintained' if stack == 'onedl' else 'original'
        findings.append(
            Finding('stack',
                    f'{kind} packages: {", ".join(found.values())}'))
    for package in OPTIONAL:
        if package not in found:
            findings.append(
                Finding(package, 'not installed', 'note',
                        f'Its configs do not run: pip install '
                        f"'sskd-mm[{stack}]'"))
    for names in DISTRIBUTIONS.values():
        places: Dict[str, List[str]] = {}
        for name in names:
            try:
                place = str(distribution(name).locate_file(''))
            except PackageNotFoundError:
                continue
            places.setdefault(place, []).append(name)
        for twice in places.values():
            if len(twice) > 1:
                findings.append(
                    Finding(
                        ' and '.join(twice), 'in one environment', 'problem',
                        'One has overwritten files of the other. pip '
                        f'uninstall {" ".join(twice)}, then install one'))
    extras = []
    for name in EXTRAS:
        try:
            extras.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            extras.append(f'no {name}')
    return [*findings, Finding('optional packages', ', '.join(extras))]


def _operators() -> List[Finding]:
    if mmcv_ext.has_compiled_ops():
        return [Finding('operators of mmcv', 'compiled')]
    served = sorted(
        name for name in vars(sys.modules[EXT_NAME])
        if not name.startswith(('_', 'get_')))
    lacking = sorted(_all_operators() - set(vars(sys.modules[EXT_NAME])))
    return [
        Finding('operators of mmcv', f'stand-ins for {", ".join(served)}'),
        Finding(
            'operators without a stand-in', ', '.join(lacking), 'note',
            'Calling one raises an error that says how to install a compiled '
            'mmcv')
    ]


def _all_operators() -> set:
    """List the compiled operators that mmcv's Python files load."""
    names = set()
    folder = Path(find_spec('mmcv').origin).parent / 'ops'
    for file in folder.glob('*.py'):
        for loaded in re.findall(r"load_ext\(\s*'_ext',\s*\[(.*?)\]",
                                 file.read_text(encoding='utf-8'), re.DOTALL):
            names.update(re.findall(r"'(\w+)'", loaded))
    return names


def _torch() -> List[Finding]:
    built = torch.version.cuda or torch.version.hip
    findings = [
        Finding(
            'torch',
            f'{torch.__version__}, torchvision {version("torchvision")}, '
            f'{f"built for CUDA {built}" if built else "built without CUDA"}')
    ]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            findings.append(
                Finding(f'GPU {i}', f'{torch.cuda.get_device_name(i)}, '
                        f'{free / GIB:.1f} of {total / GIB:.1f} GiB free'))
    elif shutil.which('nvidia-smi') is None:
        findings.append(
            Finding('GPU', 'none', 'note', 'Small configs train on a CPU: '
                    'bash tools/quickstart.sh'))
    elif built:
        findings.append(
            Finding(
                'GPU', 'present, but torch cannot use it', 'problem',
                'Most likely the driver is older than CUDA '
                f'{built}, or CUDA_VISIBLE_DEVICES hides it. Compare with '
                'nvidia-smi; update the driver, or install a torch that is '
                'built for its CUDA'))
    else:
        findings.append(
            Finding(
                'GPU', 'present, but torch is built without CUDA',
                'problem', 'pip uninstall torch torchvision, then install '
                'the build for your CUDA: https://pytorch.org'))
    return findings


def _machine() -> List[Finding]:
    findings = [
        Finding('processor', f'{os.cpu_count()} cores, torch uses '
                f'{torch.get_num_threads()} threads')
    ]
    if hasattr(os, 'sysconf') and 'SC_AVPHYS_PAGES' in os.sysconf_names:
        page = os.sysconf('SC_PAGE_SIZE')
        free, total = (page * os.sysconf(f'SC_{key}_PAGES') / GIB
                       for key in ('AVPHYS', 'PHYS'))
        findings.append(
            _room('memory', free, total, 2,
                  'Lower batch_size, num_workers or cached_passes'))
    for name, path, least, remedy in (
        ('disk, here', '.', 2, 'Checkpoints may not fit: set --work-dir to '
         'another disk, or max_keep_ckpts=1 of the CheckpointHook'),
        ('disk, downloads', get_dir(), 1, "Teachers' checkpoints are kept "
         'there: set TORCH_HOME to another disk'),
        ('shared memory', '/dev/shm', 0.5, 'Workers pass images through it: '
         'docker run --shm-size 8g, or num_workers=0')):
        path = Path(path).resolve()
        if path == Path('/dev/shm') and not path.exists():
            continue
        # If a folder does not exist yet, its nearest parent counts.
        usage = shutil.disk_usage(
            next(p for p in (path, *path.parents) if p.exists()))
        findings.append(
            _room(f'{name} ({path})', usage.free / GIB, usage.total / GIB,
                  least, remedy))
    return findings


def _room(name: str, free: float, total: float, least: float,
          remedy: str) -> Finding:
    found = f'{free:.1f} of {total:.1f} GiB free'
    if free < least:
        return Finding(name, found, 'problem', remedy)
    return Finding(name, found)


def _data() -> List[Finding]:
    findings = []
    for root, (part, remedy) in DATA.items():
        if Path(root, part).exists():
            findings.append(Finding(root, f'there, {Path(root).resolve()}'))
        elif Path(root).exists():
            findings.append(
                Finding(root, f'exists, but has no {part} in it', 'problem',
                        f'Put there: {remedy}'))
        else:
            findings.append(Finding(root, 'not there', 'note', remedy))
    return findings


def show(findings: List[Finding]) -> None:
    """Print a table."""
    table = Table(show_lines=True)
    for column in ('', 'found', 'what to do'):
        table.add_column(column, overflow='fold')
    colours = dict(ok='green', note='yellow', problem='bold red')
    for name, found, status, remedy in findings:
        table.add_row(f'[{colours[status]}]{name}[/]',
                      shorten(found, 300, placeholder=' ... (all: --json)'),
                      remedy)
    problems = sum(finding.status == 'problem' for finding in findings)
    console = Console()
    console.print(table)
    console.print(f'{problems} problem(s)' if problems else 'No problem found')


if __name__ == '__main__':
    sskd_mm_cli.main.main(['doctor', *sys.argv[1:]])
