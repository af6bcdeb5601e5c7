# Copyright (c) sskd_mm authors. All rights reserved.
"""How time and memory of mimic phases grow with the number of stages, image
size, batch size, data set size and number of processes.

Two equal CIFAR ResNet-56 on noise, three stages on 16 images of 32 x 32 unless
stated otherwise. Each point is a Runner in its own process.
"""
import os
import socket
import statistics
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Dict, List

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from pairs import siblings
from peak_memory import PeakMemory
from side_by_side import now
from table import Table

from sskd_mm.compat import setup_cpu_distributed

ITERS = 4
BEGIN = ['seconds to the first step', 'a step, ms', 'peak of a phase, MiB']


class _Enough(Exception):
    """Ends a run in the middle of an epoch."""


class GrowthHook(Hook):
    """Times the steps of each phase except the first, records its peak
    memory, and ends long epochs early."""

    # After IterTimerHook and the engine's own hooks.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.seconds: Dict[str, List[float]] = {}
        self.mib: List[float] = []
        self.first = 0.

    def before_phase(self, runner, phase) -> None:
        self._phase = self.seconds.setdefault(phase.name, [])
        self._memory = PeakMemory()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.first = self.first or time.perf_counter() - self.begin

    def after_train_iter(self,
                         runner,
                         batch_idx,
                         data_batch=None,
                         outputs=None) -> None:
        end = now()
        if batch_idx:
            self._phase.append(end - self._last)
        self._last = end
        if batch_idx + 1 == ITERS:
            self.mib.append(self._memory.mib())
            if len(runner.train_loop.dataloader) > ITERS:
                raise _Enough

    def result(self) -> Dict[str, Any]:
        return dict(
            first=self.first,
            phases=len(self.seconds),
            milliseconds=1000 * statistics.mean(
                statistics.median(s) for s in self.seconds.values()),
            mib=max(self.mib))


def _train(pipe, environment: Dict[str, str], options: dict) -> None:
    os.environ.update(environment)
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    with tempfile.TemporaryDirectory() as tmp:
        cfg = siblings(Path(tmp), ITERS, **options)
        cfg.launcher = 'pytorch' if environment else 'none'
        setup_cpu_distributed(cfg)
        hook = GrowthHook()
        runner = Runner.from_cfg(cfg)
        runner.register_hook(hook)
        try:
            runner.train()
        except _Enough:
            pass
    pipe.send(hook.result())


def measure(processes: int = 1, **options) -> Dict[str, Any]:
    """Get the results of :class:`GrowthHook` in a run's first process."""
    environments: List[Dict[str, str]] = [{}]
    if processes > 1:
        with socket.socket() as free:
            free.bind(('localhost', 0))
            port = free.getsockname()[1]
        environments = [
            dict(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(processes),
                MASTER_ADDR='localhost',
                MASTER_PORT=str(port)) for rank in range(processes)
        ]
    # Forked from a process that has imported everything but run nothing.
    context = get_context('forkserver')
    started = []
    for environment in environments:
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(
            target=_train, args=(writer, environment, options))
        process.start()
        writer.close()
        started.append((process, reader))
    results = [reader.recv() for _, reader in started]
    for process, _ in started:
        process.join()
    return results[0]


def _grow(title: str,
          name: str,
          points: Dict[Any, dict],
          notes: str = '') -> Table:
    rows = []
    for value, options in points.items():
        result = measure(**options)
        rows.append(
            [value, result['first'], result['milliseconds'], result['mib']])
    return Table(title, [name, *BEGIN], rows, notes)


def run() -> List[Table]:
    # Return freed memory to the system at once, so that it shows.
    os.environ.update(
        MALLOC_MMAP_THRESHOLD_='65536', MALLOC_TRIM_THRESHOLD_='65536')
    get_context('forkserver').set_forkserver_preload(
        ['sskd_mm', 'mmpretrain.apis', 'mmdet.apis', 'pairs'])
    tables = [
        _grow(
            'Stages: the same network cut more often, `sequential`',
            'stages (phases)', {n: dict(stages=n)
                                for n in (1, 3, 9, 27)},
            'A step: the mean over the phases. '
            'Memory: the peak above what the process had before the first '
            'step of a phase, networks included; of the phase that needs '
            'most.'),
        _grow('The same in one phase, `joint`', 'stages',
              {n: dict(stages=n, schedule='joint')
               for n in (1, 3, 9, 27)}),
        _grow('Image size', 'height and width',
              {n: dict(size=n)
               for n in (32, 48, 64, 96)}),
        _grow('Batch', 'images', {n: dict(batch_size=n)
                                  for n in (8, 16, 32)}),
        _grow(
            'Data set', 'images', {
                f'{n:,}': dict(images=n)
                for n in (1_000, 10_000, 100_000, 1_000_000)
            },
            'One phase is begun. The list of images is made anew, which takes '
            'the time to the first step. Steps are slower in these tables '
            'than elsewhere, since what is freed leaves the process at once, '
            'to be seen; a long list leaves room behind that they use again.'
        ),
    ]
    if not torch.cuda.is_available() or torch.cuda.device_count() > 1:
        tables.append(
            _grow(
                'Processes, 32 images of all together, '
                'a thread of each', 'processes', {
                    n: dict(
                        processes=n, batch_size=32 // n, images=32 * ITERS)
                    for n in (1, 2)
                }, 'Data-parallel, memory of each process.'))
    return tables
