# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from typing import Any, Dict, List, Optional

import torch
from mmengine.runner import set_random_seed
from rich.console import Group, RenderableType
from rich.table import Table
from torch import nn

from ..distillers.teacher_cache import TeacherCache
from ..stages import Phase
from .count_flops import count_flops, format_gflops, gflops_of
from .describe_schedule import describe_schedule, schedule_table
from .module_path import ModulePath
from .stdout_console import stdout_console


def describe_plan(loop) -> Dict[str, Any]:
    """Describe what a :class:`StageByStageTrainLoop` will do.

    FLOPs are counted on one real training image, two per multiply-add: for a
    network its whole forward pass, for a phase one training step (both
    networks up to the tap, or completely if losses are added to the task
    loss, and the backward pass). Two-stage detectors use their maximum number
    of proposals, see :func:`fixed_proposals`. What cannot be counted is None,
    with a warning that says why.

    Args:
        loop (StageByStageTrainLoop): A loop that has not run yet. Counting
            leaves it in its last phase: describe a plan or run it.

    Returns:
        dict: ``image_size`` (height, width), ``student`` and each of
        ``teachers`` (see :func:`describe_network`), ``inherit`` and
        ``phases``: for each its ``name``, ``epochs``, what
        :func:`describe_schedule` says, ``taps`` (``stage``, module paths,
        shapes (C, H, W) of each level, adapter), ``losses`` that are added to
        the task's own (``name``, ``type``, ``weight``, ``parameters``; the
        first is the task's), ``trains`` and ``frozen`` (number of the
        student's parameters), ``gflops`` for each image, ``cached_passes``
        from the epoch ``cache_begin`` on and, behind these, ``gflops_cached``.
    """
    distiller = loop.distiller
    batch = loop.feeds.base.sample()
    plan = dict(
        image_size=list(distiller.input_shape),
        student=describe_network(distiller.student, batch),
        teachers=[
            describe_network(teacher.model, batch)
            for teacher in distiller.teachers
        ],
        inherit=list(distiller.inheritance.parts),
        phases=[])
    total = plan['student']['parameters']
    for phase in loop.phases:
        distiller.enter_phase(phase)
        trains = distiller.partition.count(phase.trains)
        plan['phases'].append(
            dict(
                name=phase.name,
                epochs=phase.max_epochs,
                **describe_schedule(loop.runner, phase),
                taps=[_describe_tap(distiller, name) for name in phase.taps],
                losses=_describe_losses(distiller, phase),
                trains=trains,
                frozen=total - trains,
                cached_passes=phase.cached_passes,
                cache_begin=phase.cache_begin,
                **count_phase(distiller, phase, batch)))
    return plan


def describe_network(model: nn.Module, batch: dict) -> Dict[str, Any]:
    """Measure size and cost of a network.

    Args:
        model (BaseModel): An MMEngine model.
        batch (dict): A collated batch of a data set.

    Returns:
        dict: ``type``, ``parameters``, ``gflops`` of its forward pass per
        image, two per multiply-add (None if unknown, see
        :func:`count_flops`), and the ``image_size`` (height, width) that they
        are for.
    """
    data = model.data_preprocessor(batch, False)
    model.eval()
    with torch.no_grad():
        counts = count_flops(lambda: model(**data, mode='tensor'),
                             f'a {type(model).__name__}', [model])
    return dict(
        type=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        gflops=gflops_of(counts, len(data['inputs'])),
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
            for s, t in distiller.comparison.tap_shapes[name]
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


def count_phase(distiller, phase: Phase,
                batch: dict) -> Dict[str, Optional[float]]:
    """Count the FLOPs of a training step of a phase, per image.

    Args:
        distiller (StageByStageDistiller): It has entered the phase.
        phase (Phase): The phase.
        batch (dict): A collated batch of the training set.

    Returns:
        dict[str, float or None]: ``gflops``, and ``gflops_cached`` of a step
        whose teachers' features are cached; see :func:`count_step`.
    """
    if not phase.caches_teachers:
        return dict(gflops=count_step(distiller, batch), gflops_cached=0.)
    teachers, counts = distiller.teachers, []
    teachers.set_cache(TeacherCache())
    # The first step fills the cache; the second, on the same input, uses it.
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            set_random_seed(0)
            teachers.begin_batch((0, 0), batch)
            counts.append(count_step(distiller, batch))
    teachers.end_batch()
    teachers.set_cache(None)
    return dict(gflops=counts[0], gflops_cached=counts[1])


def count_step(model: nn.Module, batch: dict) -> Optional[float]:
    """Count the FLOPs of a training step.

    Args:
        model (BaseModel): An MMEngine model, in the mode and phase to train.
        batch (dict): A collated batch of the training set.

    Returns:
        float or None: GFLOPs per image, two per multiply-add. None if the
        step works, but cannot be counted.
    """

    images = 0

    def step():
        nonlocal images
        # Some networks write into their input samples.
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        images = len(data['inputs'])
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()

    teachers = [t.model for t in getattr(model, 'teachers', ())]
    counts = count_flops(step, 'a training step', [model, *teachers])
    if counts is None:
        # If counting is not the cause, training fails here, too.
        step()
    return gflops_of(counts, images)


def print_plan(plan: Dict[str, Any]) -> None:
    """Print a plan as tables on the terminal."""
    console = stdout_console()
    height, width = plan['image_size']
    networks = Table(title=f'Networks, for an image of {height} x {width}')
    for column in ('', 'type', 'parameters', 'GFLOPs per image'):
        networks.add_column(column, justify='right' if column else 'left')
    for role, row in (*(('teacher', row) for row in plan['teachers']),
                      ('student', plan['student'])):
        networks.add_row(role, row['type'], f'{row["parameters"]:,}',
                         format_gflops(row['gflops']))
    console.print(networks)
    if plan['inherit']:
        console.print('The student inherits what fits of the teacher\'s '
                      f'{", ".join(plan["inherit"])}.')

    taps = Table(title='Taps (channels x height x width)')
    for column in ('stage', 'student, then teacher', 'shapes', 'adapter'):
        taps.add_column(column)
    seen = {tap['stage']: tap for p in plan['phases'] for tap in p['taps']}
    for name, tap in seen.items():
        taps.add_row(
            ModulePath(name),
            _paths([tap['student'], *tap['teacher'].split(', ')]),
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

    phases = Table(title='Phases (GFLOPs of a training step)')
    for column in ('phase', 'compares', 'epochs', 'batch', 'trains', 'frozen',
                   'GFLOPs\nper image'):
        phases.add_column(
            column,
            justify='left' if column in ('phase', 'compares') else 'right',
            no_wrap=column == 'phase')
    for phase in plan['phases']:
        phases.add_row(
            phase['name'], _compared(phase), _length(phase),
            str(phase['batch_size'] or ''), _count(phase['trains']),
            _count(phase['frozen']), _gflops(phase))
    console.print(phases)
    console.print(schedule_table(plan['phases']))


def _gflops(phase: Dict[str, Any]) -> str:
    text = format_gflops(phase['gflops'])
    if phase['cached_passes']:
        passes = phase['cached_passes']
        text += (f', then {format_gflops(phase["gflops_cached"])} after '
                 f'{passes} cached pass{"es" * (passes > 1)}')
    return text


def _length(phase: Dict[str, Any]) -> str:
    if phase['by_epoch']:
        return str(phase['epochs'])
    return f'{phase["iterations"]:,}\niters'


def _count(parameters: int) -> str:
    if parameters < 100_000:
        return f'{parameters:,}'
    return f'{parameters / 1e6:,.2f}M'


def _compared(phase: Dict[str, Any]) -> RenderableType:
    stages = [tap['stage'] for tap in phase['taps']]
    if any('.' in stage for stage in stages):
        return _paths(stages)
    if stages:
        return ', '.join(stages)
    return ', '.join(
        ['ground truth', *(loss['name'] for loss in phase['losses'][1:])])


def _paths(paths: List[str]) -> RenderableType:
    return Group(*map(ModulePath, paths))


def _shapes(level: Dict[str, Any]) -> str:
    return ' -> '.join('x'.join(map(str, level[role]))
                       for role in ('student', 'teacher'))


def _adapter(tap: Dict[str, Any]) -> str:
    if not tap['adapter_parameters']:
        return 'none needed'
    return f'{tap["adapter"]}\n({tap["adapter_parameters"]:,})'
