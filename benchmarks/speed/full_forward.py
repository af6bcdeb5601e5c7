# Copyright (c) sskd_mm authors. All rights reserved.
"""Sequential mimic phases compared with code that runs both networks in full.

Two rivals in plain PyTorch, on a loaded batch: joint feature distillation
(cross entropy and a loss at every tap, so the whole student is
differentiated), and stage-by-stage mimicking as usually written (both networks
run completely, but only the stage in training is differentiated). The engine
is a Runner with a shipped config. Memory is measured in separate processes.
"""
import copy
import os
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Dict, List

import torch
import torch.nn.functional as F
from beside_hook import measure_beside
from mmengine.hooks import Hook
from mmengine.runner import Runner
from pairs import cifar, imagenet, stages_of
from peak_memory import PeakMemory
from side_by_side import median
from table import Table
from torch import Tensor, nn

from .bound import run_stages

PAIRS = {
    'CIFAR ResNet-56 to -20, 128 images of 32 x 32': (cifar, 5),
    'ResNet-50 to -18, 8 images of 224 x 224': (imagenet, 4),
}


class FullStep:
    """A step that runs both networks completely.

    Args:
        distiller (nn.Module): Its networks are copied.
        index (int): Index of the stage in training.
        optimizer (torch.optim.SGD): Its settings are copied.
        joint (bool): Whether the whole student trains, on all taps and the
            labels.
    """

    def __init__(self, distiller: nn.Module, index: int,
                 optimizer: torch.optim.SGD, joint: bool) -> None:
        self.student = copy.deepcopy(distiller.student).train()
        self.teacher = distiller.teachers[0].model
        self.index, self.joint = index, joint
        stages = stages_of(self.student)
        trained = self.student if joint else stages[index]
        self.student.requires_grad_(False)
        trained.requires_grad_(True)
        self.adapters = nn.ModuleList(
            nn.Identity() if s[0] == t[0] else nn.Conv2d(s[0], t[0], 1)
            for (s, t), in distiller.comparison.tap_shapes.values())
        self.adapters.to(next(self.student.parameters()).device)
        group = optimizer.param_groups[0]
        self.optimizer = torch.optim.SGD(
            [*trained.parameters(), *self.adapters.parameters()],
            lr=group['lr'],
            momentum=group['momentum'],
            weight_decay=group['weight_decay'])

    def __call__(self, inputs: Tensor) -> None:
        with torch.no_grad():
            targets = run_stages(stages_of(self.teacher), inputs)
            self.teacher.head(self.teacher.neck((targets[-1], )))
        features = run_stages(stages_of(self.student), inputs)
        logits = self.student.head(self.student.neck((features[-1], )))
        losses = [
            F.mse_loss(adapter(s), t)
            for adapter, s, t in zip(self.adapters, features, targets)
        ]
        if self.joint:
            labels = torch.zeros(
                len(logits), dtype=torch.long, device=logits.device)
            loss = sum(losses) + F.cross_entropy(logits, labels)
        else:
            loss = losses[self.index]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


RIVALS = {
    'joint distillation': partial(FullStep, joint=True),
    'both run in full': partial(FullStep, joint=False),
}


class MemoryHook(Hook):
    """Records the peak of each phase, of the engine or a rival."""

    priority = 'LOWEST'

    def __init__(self, rival: str = '') -> None:
        self.rival = rival
        self.mib: Dict[str, float] = {}

    def before_phase(self, runner, phase) -> None:
        self._name = phase.name
        distiller = runner.train_loop.distiller
        if self.rival:
            index = list(distiller.stages).index(phase.taps[0])
            self._step = RIVALS[self.rival](distiller, index,
                                            runner.optim_wrapper.optimizer)
        self._memory = PeakMemory()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if not self.rival:
            return
        if batch_idx == 0:
            inputs = runner.train_loop.distiller.data_preprocessor(
                data_batch, True)['inputs']
            for _ in range(3):
                self._step(inputs)
            self.mib[self._name] = self._memory.mib()
            del self._step

    def after_train_epoch(self, runner) -> None:
        self.mib.setdefault(self._name, self._memory.mib())


def peak_memory(title: str, rival: str) -> Dict[str, float]:
    """Measure the MiB of each phase in addition to the networks."""
    hook = MemoryHook(rival)
    with tempfile.TemporaryDirectory() as tmp:
        # A rival replaces the engine, which trains for one iteration.
        runner = Runner.from_cfg(PAIRS[title][0](Path(tmp), 1 if rival else 3))
        runner.register_hook(hook)
        runner.train()
    return hook.mib


def run() -> List[Table]:
    tables = []
    for title, (pair, iters) in PAIRS.items():
        seconds = measure_beside(pair, iters, RIVALS)
        peaks = {}
        # Return freed memory to the system at once, so that it shows.
        os.environ.update(
            MALLOC_MMAP_THRESHOLD_='65536', MALLOC_TRIM_THRESHOLD_='65536')
        for rival in ('', *RIVALS):
            with ProcessPoolExecutor(
                    1, mp_context=get_context('spawn')) as pool:
                peaks[rival] = pool.submit(peak_memory, title, rival).result()
        rows = [[
            phase,
            median(times['engine'], 1000),
            *(median(times[rival], 1000) for rival in RIVALS),
            *(peak[phase] for peak in peaks.values())
        ] for phase, times in seconds.items()]
        engine = statistics.mean(
            statistics.median(times['engine']) for times in seconds.values())
        highest = max(peaks[''].values())
        rows.append([
            'engine / rival', '',
            *(engine / statistics.mean(
                statistics.median(times[rival]) for times in seconds.values())
              for rival in RIVALS), '',
            *(highest / max(peaks[rival].values()) for rival in RIVALS)
        ])
        tables.append(
            Table(
                title, [
                    'phase', 'engine, ms',
                    *(f'{rival}, ms' for rival in RIVALS), 'engine, MiB',
                    *(f'{rival}, MiB' for rival in RIVALS)
                ], rows, f'{iters} iterations each, in turn; medians with '
                'quartiles. Memory: the peak above what the process, with its '
                'networks, had before the first step. Last row: of the mean '
                'over the phases, and of the highest peak.'))
    return tables
