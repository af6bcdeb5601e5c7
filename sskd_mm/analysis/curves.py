# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Dict, List, Optional, Union

import matplotlib
from matplotlib.figure import Figure

from .logged_scalars import read_scalars

#: Prefix of the distiller's mimic losses, before the name of the stage.
MIMIC = 'loss_mimic_'


def read_losses(work_dir: Union[str, Path]) -> List[Dict[str, float]]:
    """The training losses that MMEngine's ``LocalVisBackend`` has logged.

    Args:
        work_dir (str or Path): Of one training, resumed or not.

    Returns:
        list[dict]: ``iter`` and ``loss``, with what else was logged then, in
        the order of iterations.
    """
    points: Dict[int, Dict[str, float]] = {}
    for point in read_scalars(work_dir):
        if 'loss' in point:
            # A resumed run logs some iterations again.
            points[point['iter']] = point
    return [points[i] for i in sorted(points)]


def plot_losses(distilled: Union[str, Path],
                scratch: Optional[Union[str, Path]],
                file: Union[str, Path]) -> None:
    """Plot the mimic losses of a distillation, phase by phase, and the task
    loss together with that of a student trained from scratch.

    Args:
        distilled (str or Path): Work directory of the distillation.
        scratch (str or Path, optional): Work directory of the student from
            scratch. Defaults to none.
        file (str or Path): The picture to write.

    Raises:
        FileNotFoundError: A work directory holds no logged losses.
    """
    curves = {}
    for folder in filter(None, (distilled, scratch)):
        curves[folder] = read_losses(folder)
        if not curves[folder]:
            raise FileNotFoundError(
                f'{folder} holds no losses (*/vis_data/scalars.json, as the '
                'LocalVisBackend of MMEngine writes it). Give the work '
                'directory of a training.')
    with matplotlib.rc_context({'axes.grid': True, 'grid.alpha': .3}):
        figure = Figure(figsize=(11, 4), layout='constrained')
        mimic, task = figure.subplots(1, 2)
        points = curves[distilled]
        stages = {key for point in points for key in point
                  if key.startswith(MIMIC)}
        for stage in sorted(stages):
            curve = [(p['iter'], p[stage]) for p in points if stage in p]
            mimic.plot(*zip(*curve), label=stage[len(MIMIC):])
        mimic.set(
            title='Stage 1: mimicking the teacher',
            xlabel='iteration',
            ylabel='mimic loss',
            yscale='log')
        if stages:
            mimic.legend()
        tasks = {'SSKD': [p for p in points if not stages & p.keys()]}
        if scratch is not None:
            tasks['from scratch'] = curves[scratch]
        for label, curve in tasks.items():
            task.plot([p['iter'] for p in curve], [p['loss'] for p in curve],
                      label=label)
        task.set(
            title='Stage 2: the task itself',
            xlabel='iteration',
            ylabel='task loss')
        task.legend()
        figure.savefig(file, dpi=120)
