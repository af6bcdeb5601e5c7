# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def describe_plan(loop) -> Dict[str, Any]:
    """What a :class:`StageByStageTrainLoop` is going to do.

    FLOPs are counted on one real image of the training set, two for each
    multiply-add: of a network its whole forward pass, of a phase one training
    step (both networks as far as the tap, and the backward pass).

    Args:
        loop (StageByStageTrainLoop): A loop that has not run yet. Counting
            leaves it in its last phase: describe a plan or run it.

    Returns:
        dict: ``image_size`` (height, width), ``student`` and each of
        ``teachers`` (``type``, ``parameters``, ``gflops``) and ``phases``:
        for each its ``name``, ``epochs``, ``taps`` (``stage``, module paths,
        shapes (C, H, W) of each level, adapter), ``trains`` and ``frozen``
        (number of the student's parameters) and ``gflops``.
    """
    distiller = loop.distiller
    batch = loop.sample()
    plan = dict(
        image_size=list(distiller.input_shape),
        student=_describe_network(distiller.student, batch),
        teachers=[
            _describe_network(teacher.model, batch)
            for teacher in distiller.teachers
        ],
        phases=[])
    total = plan['student']['parameters']
    for phase in loop.phases:
        distiller.enter_phase(phase)
        trains = distiller.partition.count(phase.trains)
        plan['phases'].append(
            dict(
                name=phase.name,
                epochs=phase.max_epochs,
                taps=[_describe_tap(distiller, name) for name in phase.taps],
                trains=trains,
                frozen=total - trains,
                gflops=count_step(distiller, batch)))
    return plan


def _describe_network(model: nn.Module, batch: dict) -> Dict[str, Any]:
    data = model.data_preprocessor(batch, False)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**data, mode='tensor')
    return dict(
        type=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        gflops=counter.get_total_flops() / len(data['inputs']) / 1e9)


def _describe_tap(distiller, name: str) -> Dict[str, Any]:
    stage = distiller.stages[name]
    adapters = distiller.adapters_of(name)
    return dict(
        stage=name,
        student=stage.student,
        teacher=', '.join(path or '-' for path in stage.teachers),
        levels=[
            dict(student=list(s), teacher=list(t))
            for s, t in distiller.tap_shapes[name]
        ],
        adapter=type(adapters[0]).__name__,
        adapter_parameters=sum(p.numel() for p in adapters.parameters()))


def count_step(model: nn.Module, batch: dict) -> float:
    """Count what a training step computes.

    Args:
        model (BaseModel): A model of MMEngine, in the mode and phase in which
            it trains.
        batch (dict): A collated batch of the training set.

    Returns:
        float: GFLOPs for each image, two for each multiply-add.
    """
    data = model.data_preprocessor(batch, True)
    with FlopCounterMode(display=False) as counter:
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
    return counter.get_total_flops() / len(data['inputs']) / 1e9


def print_plan(plan: Dict[str, Any]) -> None:
    """Print a plan as tables on the terminal."""
    console = Console()
    height, width = plan['image_size']
    networks = Table(title=f'Networks, for an image of {height} x {width}')
    for column in ('', 'type', 'parameters', 'GFLOPs'):
        networks.add_column(column, justify='right' if column else 'left')
    for role, row in (*(('teacher', row) for row in plan['teachers']),
                      ('student', plan['student'])):
        networks.add_row(role, row['type'], f'{row["parameters"]:,}',
                         f'{row["gflops"]:.2f}')
    console.print(networks)

    taps = Table(title='Taps (channels x height x width)')
    for column in ('stage', 'student', 'teacher', 'shapes', 'adapter'):
        taps.add_column(column)
    seen = {tap['stage']: tap for p in plan['phases'] for tap in p['taps']}
    for name, tap in seen.items():
        taps.add_row(name, tap['student'], tap['teacher'],
                     '\n'.join(_shapes(level) for level in tap['levels']),
                     _adapter(tap))
    console.print(taps)

    phases = Table(title='Phases')
    for column in ('phase', 'compares', 'epochs', 'trains', 'frozen',
                   'GFLOPs a step'):
        phases.add_column(
            column,
            justify='left' if column in ('phase', 'compares') else 'right')
    for phase in plan['phases']:
        phases.add_row(
            phase['name'], ', '.join(tap['stage'] for tap in phase['taps'])
            or 'ground truth', str(phase['epochs']), f'{phase["trains"]:,}',
            f'{phase["frozen"]:,}', f'{phase["gflops"]:.2f}')
    console.print(phases)


def _shapes(level: Dict[str, Any]) -> str:
    return ' -> '.join(' x '.join(map(str, level[role]))
                       for role in ('student', 'teacher'))


def _adapter(tap: Dict[str, Any]) -> str:
    if not tap['adapter_parameters']:
        return 'none needed'
    return f'{tap["adapter"]} ({tap["adapter_parameters"]:,})'
