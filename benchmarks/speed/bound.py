# Copyright (c) sskd_mm authors. All rights reserved.
"""Mimic phases compared with a bare PyTorch loop of the same arithmetic.

The engine is a Runner with a shipped config, including loading, preprocessing,
hooks and logging; the bare loop only computes on a loaded batch.
"""
import copy
from typing import List

import torch
import torch.nn.functional as F
from beside_hook import measure_beside
from pairs import cifar, detector, stages_of
from side_by_side import median, ratio
from table import Table
from torch import Tensor, nn

PAIRS = {
    'CIFAR ResNet-56 to -20, 128 images of 32 x 32': (cifar, 25),
    'Faster R-CNN R50-FPN to R18-FPN, 2 images of 256 x 320': (detector, 12),
}


class BareStep:
    """A step of a sequential mimic phase: the teacher up to the tap, the
    student's frozen stages, the stage in training, L2, SGD.

    Args:
        distiller (nn.Module): Its networks are copied.
        index (int): Index of the stage in training.
        optimizer (torch.optim.SGD): Its settings are copied.
    """

    def __init__(self, distiller: nn.Module, index: int,
                 optimizer: torch.optim.SGD) -> None:
        student = copy.deepcopy(distiller.student).requires_grad_(False)
        self.teacher = stages_of(distiller.teachers[0].model)[:index + 1]
        *self.frozen, self.trained = stages_of(student)[:index + 1]
        for stage in self.frozen:
            stage.eval()
        self.trained.train().requires_grad_(True)
        name = list(distiller.stages)[index]
        self.adapters = nn.ModuleList(
            nn.Identity() if s[0] == t[0] else nn.Conv2d(s[0], t[0], 1)
            for s, t in distiller.comparison.tap_shapes[name])
        self.adapters.to(next(student.parameters()).device)
        group = optimizer.param_groups[0]
        self.optimizer = torch.optim.SGD(
            [*self.trained.parameters(), *self.adapters.parameters()],
            lr=group['lr'],
            momentum=group['momentum'],
            weight_decay=group['weight_decay'])

    def __call__(self, inputs: Tensor) -> None:
        with torch.no_grad():
            targets = run_stages(self.teacher, inputs)[-1]
            before = run_stages(self.frozen, inputs)
        outputs = run_stage(self.trained, inputs, before)
        if isinstance(outputs, Tensor):
            outputs, targets = [outputs], [targets]
        loss = sum(
            F.mse_loss(adapter(s), t)
            for adapter, s, t in zip(self.adapters, outputs, targets))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def run_stages(stages: List[nn.Module], inputs: Tensor) -> list:
    features: list = []
    for stage in stages:
        features.append(run_stage(stage, inputs, features))
    return features


def run_stage(stage: nn.Module, inputs: Tensor, before: list):
    if hasattr(stage, 'lateral_convs'):
        return stage(tuple(before))
    return stage(before[-1] if before else inputs)


def run() -> List[Table]:
    tables = []
    for title, (pair, iters) in PAIRS.items():
        seconds = measure_beside(pair, iters, dict(bare=BareStep))
        rows = [[
            name,
            median(t['engine'], 1000),
            median(t['bare'], 1000),
            ratio(t['engine'], t['bare']),
            ratio(t['loading'], t['engine'])
        ] for name, t in seconds.items()]
        tables.append(
            Table(
                title, [
                    'phase', 'engine, ms', 'bare loop, ms', 'ratio',
                    'loading, of the engine'
                ], rows, f'{iters} iterations each, in turn; medians with '
                'quartiles.'))
    return tables
