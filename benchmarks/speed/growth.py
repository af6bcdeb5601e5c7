# Copyright (c) sskd_mm authors. All rights reserved.
"""How time and memory grow: with stages, image size, batch, data and
processes.

Mimicking of ResNet-50 by ResNet-18 on noise, by the schedules that differ in
what they hold. Each row is a process of its own; its memory is the peak above
what it has with its networks before the first step. The last rows are two
processes of one thread, each with half of the batch.
"""
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

from mmengine.config import Config
from table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
ALL = [f'backbone.layer{i}' for i in range(1, 5)]
BASE = dict(schedule='sequential', stages=ALL, size=96, batch=8, iters=6)
ROWS = {
    'as it is': {},
    'stages: 1': dict(stages=ALL[3:]),
    'stages: 2': dict(stages=ALL[1::2]),
    'schedule joint, stages: 1': dict(schedule='joint', stages=ALL[3:]),
    'schedule joint, stages: 4': dict(schedule='joint'),
    'schedule local, stages: 4': dict(schedule='local'),
    'images of 192': dict(size=192),
    'batch of 16': dict(batch=16),
    'iterations: 60': dict(iters=60),
}


def config(folder: Path, schedule: str, stages: list, size: int, batch: int,
           iters: int) -> Config:
    """The shipped config of ImageNet's pair, on noise."""
    from pairs import imagenet
    cfg = imagenet(folder, iters, batch)
    cfg.train_cfg.schedule = schedule
    cfg.model.stages = stages
    cfg.train_dataloader.dataset.size = (size, size)
    cfg.custom_hooks = [dict(type='NoteHook')]
    cfg.custom_imports = dict(imports=['sskd_mm', 'pairs', 'note_hook'])
    return cfg


def measure(cfg: Config, processes: int = 1) -> dict:
    """Milliseconds an iteration and MiB: the highest of the phases."""
    folder = Path(cfg.work_dir)
    cfg.dump(folder / 'config.py')
    command = [sys.executable]
    options = []
    if processes > 1:
        command += [
            '-m', 'torch.distributed.run', f'--nproc_per_node={processes}',
            '--standalone'
        ]
        options = ['--launcher', 'pytorch']
    env = dict(
        os.environ,
        OMP_NUM_THREADS='1',
        PYTHONPATH=os.pathsep.join(
            [str(ROOT), str(ROOT / 'benchmarks'),
             os.environ.get('PYTHONPATH', '')]),
        # What is freed shall leave the process at once, to be seen.
        MALLOC_MMAP_THRESHOLD_='65536',
        MALLOC_TRIM_THRESHOLD_='65536')
    result = subprocess.run([
        *command, ROOT / 'tools/train.py', folder / 'config.py', '--work-dir',
        folder, *options
    ],
                            env=env,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            text=True)
    if result.returncode:
        sys.exit(result.stdout)
    phases = Config.fromfile(folder / 'notes.json')
    return dict(
        ms=1000 * statistics.mean(p['seconds'] for p in phases.values()),
        mib=max(p['mib'] for p in phases.values()))


def run() -> List[Table]:
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        for name, changes in ROWS.items():
            found = measure(config(folder, **{**BASE, **changes}))
            rows.append([name, found['ms'], found['mib']])
        for name, batch, processes in (('one process, batch of 16', 16, 1),
                                       ('two processes, 8 each', 8, 2)):
            cfg = config(folder, **{**BASE, 'batch': batch})
            found = measure(cfg, processes)
            rows.append([name, found['ms'], found['mib']])
    return [
        Table(
            'ResNet-50 to -18, sequential, four stages, 8 images of 96 x 96, '
            'six iterations a phase, unless said otherwise',
            ['row', 'ms an iteration, mean of the phases', 'MiB'], rows,
            'Medians of the iterations after the first two. The memory is of '
            'one process.')
    ]
