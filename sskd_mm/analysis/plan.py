# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, List

import torch
from mmengine.runner import set_random_seed
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from ..distillers.teacher_cache import TeacherCache
from ..stages import Phase


def describe_plan(loop) -> Dict[str, Any]:
    """What a :class:`StageByStageTrainLoop` is going to do.

    FLOPs are counted on one real image of the training set, two for each
    multiply-add: of a network its whole forward pass, of a phase one training
    step (both networks as far as the tap, with losses added to the task's
    own the whole of both, and the backward pass).

    Args:
        loop (StageByStageTrainLoop): A loop that has not run yet. Counting
            leaves it in its last phase: describe a plan or run it.

    Returns:
        dict: ``image_size`` (height, width), ``student`` and each of
        ``teachers`` (see :func:`describe_network`) and ``phases``:
        for each its ``name``, ``epochs``, ``taps`` (``stage``, module paths,
        shapes (C, H, W) of each level, adapter), ``losses`` that are added to
        the task's own (``name``, ``type``, ``weight``, ``parameters``; the
        first is the task's), ``trains`` and ``frozen`` (number of the
        student's parameters), ``gflops``, ``cached_passes`` from the
        epoch ``cache_begin`` on and, behind these, ``gflops_cached``.
    """
    distiller = loop.distiller
    batch = loop.sample()
    plan = dict(
        image_size=list(distiller.input_shape),
        student=describe_network(distiller.student, batch),
        teachers=[
            describe_network(teacher.model, batch)
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
                losses=_describe_losses(distiller, phase),
                trains=trains,
                frozen=total - trains,
                cached_passes=phase.cached_passes,
                cache_begin=phase.cache_begin,
                **_count_phase(distiller, phase, batch)))
    return plan


def describe_network(model: nn.Module, batch: dict) -> Dict[str, Any]:
    """Size and cost of a network.

    Args:
        model (BaseModel): A model of MMEngine.
        batch (dict): A collated batch of a data set.

    Returns:
        dict: ``type``, ``parameters``, ``gflops`` of its forward pass for
        each image, two for each multiply-add, and the ``image_size`` (height,
        width) that this holds for.
    """
    data = model.data_preprocessor(batch, False)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**data, mode='tensor')
    return dict(
        type=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        gflops=counter.get_total_flops() / len(data['inputs']) / 1e9,
        image_size=list(data['inputs'].shape[-2:]))


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


def _describe_losses(distiller, phase: Phase) -> List[Dict[str, Any]]:
    added = [
        dict(
            name=name,
            type=type(loss).__name__,
            weight=loss.weight,
            parameters=sum(p.numel() for p in loss.parameters()))
        for name, loss in distiller.losses_of(phase).items()
    ]
    task = dict(
        name='task',
        type=type(distiller.student).__name__,
        weight=distiller.task_weight,
        parameters=0)
    return [task, *added] if added else []


def _count_phase(distiller, phase: Phase, batch: dict) -> Dict[str, float]:
    if not phase.caches_teachers:
        return dict(gflops=count_step(distiller, batch), gflops_cached=0.)
    teachers, counts = distiller.teachers, []
    teachers.set_cache(TeacherCache())
    # The first step computes, the second one, preprocessed alike, recalls.
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            set_random_seed(0)
            teachers.begin_batch((0, 0), batch)
            counts.append(count_step(distiller, batch))
    teachers.end_batch()
    teachers.set_cache(None)
    return dict(gflops=counts[0], gflops_cached=counts[1])


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
    count = {torch.ops.aten.convolution_backward: _conv_backward}
    with FlopCounterMode(display=False, custom_mapping=count) as counter:
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
    return counter.get_total_flops() / len(data['inputs']) / 1e9


def _conv_backward(grad_shape, x_shape, weight_shape, _bias, _stride, _padding,
                   _dilation, transposed, _output_padding, _groups,
                   output_mask, **kwargs) -> int:
    """Each of the two gradients computes as much as the forward pass. By
    torch's own count those of a grouped convolution's weights are of a full
    one's."""
    return sum(output_mask[:2]) * conv_flop_count(x_shape, weight_shape,
                                                  grad_shape, transposed)


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
    if seen:
        console.print(taps)

    losses = Table(title='Weights of the losses')
    for column in ('loss', 'type', 'weight', 'parameters'):
        losses.add_column(
            column,
            justify='right' if column in ('weight', 'parameters') else 'left')
    for phase in plan['phases']:
        for loss in phase['losses']:
            losses.add_row(loss['name'], loss['type'], f'{loss["weight"]:g}',
                           f'{loss["parameters"]:,}')
    if losses.rows:
        console.print(losses)

    phases = Table(title='Phases')
    for column in ('phase', 'compares', 'epochs', 'trains', 'frozen',
                   'GFLOPs a step'):
        phases.add_column(
            column,
            justify='left' if column in ('phase', 'compares') else 'right')
    for phase in plan['phases']:
        phases.add_row(
            phase['name'], _compared(phase), str(phase['epochs']),
            f'{phase["trains"]:,}', f'{phase["frozen"]:,}', _gflops(phase))
    console.print(phases)


def _gflops(phase: Dict[str, Any]) -> str:
    text = f'{phase["gflops"]:.2f}'
    if phase['cached_passes']:
        text += (f', then {phase["gflops_cached"]:.2f} '
                 f'(cached passes: {phase["cached_passes"]})')
    return text


def _compared(phase: Dict[str, Any]) -> str:
    if phase['taps']:
        return ', '.join(tap['stage'] for tap in phase['taps'])
    return ', '.join(
        ['ground truth', *(loss['name'] for loss in phase['losses'][1:])])


def _shapes(level: Dict[str, Any]) -> str:
    return ' -> '.join(' x '.join(map(str, level[role]))
                       for role in ('student', 'teacher'))


def _adapter(tap: Dict[str, Any]) -> str:
    if not tap['adapter_parameters']:
        return 'none needed'
    return f'{tap["adapter"]} ({tap["adapter_parameters"]:,})'
