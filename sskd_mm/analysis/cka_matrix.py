# Copyright (c) sskd_mm authors. All rights reserved.
from itertools import islice, product
from pathlib import Path
from typing import Dict, Iterable, List, Tuple, Union

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..stages import run_prefix, to_canonical, tokens_to_map
from .alignment import Alignment


@torch.no_grad()
def measure_cka_matrix(
        distiller, dataloader: Iterable,
        batches: int) -> Tuple[List[str], List[str], List[List[float]]]:
    """Compare every tap of a student with every tap of its (first) teacher.

    A perfect copy has a diagonal of 1; if the student's stages correspond to
    other depths of the teacher, the maximum is off the diagonal.

    Args:
        distiller (StageByStageDistiller): A prepared distiller in eval mode.
        dataloader (Iterable): Yields batches for its data preprocessor.
        batches (int): Number of batches to use.

    Returns:
        tuple: The student's taps, the teacher's taps, and the linear CKA of
        each pair, see :class:`Alignment`. Each level of a tap counts as a
        tap. If two maps differ in resolution, the student's is resampled.
    """
    teacher = distiller.teachers[0]
    stages = [s for s in distiller.stages.values() if s.teachers[0]]
    measures: Dict[Tuple[str, str], Alignment] = {}
    for batch in islice(dataloader, batches):
        inputs = distiller.data_preprocessor(batch, False)['inputs']
        ours = _levels(
            run_prefix(distiller.student, [s.student for s in stages],
                       inputs), distiller.comparison.layouts[0],
            inputs.shape[-2:])
        images = teacher.preprocess(inputs)
        theirs = _levels(
            run_prefix(teacher.model, [s.teachers[0] for s in stages],
                       images),
            distiller.comparison.layouts[1], images.shape[-2:])
        for (own, s), (other, t) in product(ours.items(), theirs.items()):
            # No adapter: only CKA is used.
            measures.setdefault((own, other), Alignment()).update(s, t, t)
    return list(ours), list(theirs), [[
        measures[own, other].compute()['cka'] for other in theirs
    ] for own in ours]


def _levels(features: Dict[str, Tuple[Tensor, ...]],
            layouts: Dict[str, Tuple[str, ...]],
            image_size: Tuple[int, int]) -> Dict[str, Tensor]:
    """Get each level of each tap as a map, by name."""
    levels = {}
    for path, maps in features.items():
        maps = to_canonical(maps, layouts[path], image_size)
        for number, x in enumerate(maps):
            name = path if len(maps) == 1 else f'{path}[{number}]'
            levels[name] = (
                x if x.dim() == 4 else tokens_to_map(x, image_size)
                if x.dim() == 3 else x[:, :, None, None])
    return levels


def plot_cka_matrix(student: List[str], teacher: List[str],
                    matrix: List[List[float]], file: Union[str,
                                                           Path]) -> None:
    """Plot the result of :func:`measure_cka_matrix`.

    Args:
        student (list[str]): The student's taps.
        teacher (list[str]): The teacher's taps.
        matrix (list[list[float]]): Their CKA.
        file (str or Path): The picture to write.
    """
    figure = Figure(
        figsize=(2.5 + .7 * len(teacher), 1.8 + .6 * len(student)),
        layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap='viridis')
    axes.set_xticks(range(len(teacher)), teacher, rotation=40, ha='right')
    axes.set_yticks(range(len(student)), student)
    axes.set(title='Linear CKA', xlabel='teacher', ylabel='student')
    for y, row in enumerate(matrix):
        for x, value in enumerate(row):
            axes.text(
                x,
                y,
                f'{value:.2f}',
                ha='center',
                va='center',
                color='black' if value > .6 else 'white')
    figure.colorbar(image)
    figure.savefig(file, dpi=120)
