# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Dict, List, Union

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import nn

from ..stages import find_stages
from .count_flops import count_flops, gflops_of


@torch.no_grad()
def describe_parts(model: nn.Module, batch: dict) -> List[Dict[str, float]]:
    """Measure size and cost of a network, part by part.

    Args:
        model (BaseModel): An MMEngine model in eval mode.
        batch (dict): A collated batch of a data set.

    Returns:
        list[dict]: ``part`` (the backbone's stages, the rest of the backbone,
        and the network's other modules), ``parameters``, and ``gflops`` of
        the forward pass per image, two per multiply-add, or None if unknown,
        see :func:`count_flops`.
    """
    data = model.data_preprocessor(batch, False)
    root = type(model).__name__
    counts = count_flops(lambda: model(**data, mode='tensor'), f'a {root}',
                         [model])

    def count(path: str) -> float:
        if counts is None:
            return 0.
        if f'{root}.{path}' in counts:
            return gflops_of(counts, len(data['inputs']), f'{root}.{path}')
        # Never called itself, such as a list or mmdet's dense heads.
        return sum(
            count(f'{path}.{name}')
            for name, _ in model.get_submodule(path).named_children())

    def describe(path: str) -> Dict[str, float]:
        module = model.get_submodule(path)
        return dict(
            part=path,
            parameters=sum(p.numel() for p in module.parameters()),
            gflops=count(path))

    parts = []
    for name, child in model.named_children():
        whole = describe(name)
        stages = [
            describe(path) for path in find_stages(model)
            if path.startswith(f'{name}.')
        ] if name == 'backbone' else []
        rest = dict(
            whole,
            part=f'{name}, rest' if stages else name,
            **{
                key: whole[key] - sum(stage[key] for stage in stages)
                for key in ('parameters', 'gflops')
            })
        # Skip parts without cost, such as a data preprocessor.
        parts += [
            part for part in (rest, *stages)
            if part['parameters'] or part['gflops'] > 0
        ]
    if counts is None:
        parts = [dict(part, gflops=None) for part in parts]
    return parts


def plot_complexity(networks: Dict[str, List[dict]],
                    file: Union[str, Path]) -> None:
    """Plot the cost of the parts of networks side by side.

    Args:
        networks (dict[str, list[dict]]): :func:`describe_parts` of each
            network, by role.
        file (str or Path): The picture to write.
    """
    unknown = ' (unknown)'
    names = list(
        dict.fromkeys(p['part'] for parts in networks.values()
                      for p in parts))
    with matplotlib.rc_context({'axes.grid': True, 'grid.alpha': .3}):
        figure = Figure(
            figsize=(10, 1.5 + .4 * len(names)), layout='constrained')
        height = .8 / len(networks)
        for axes, key in zip(
                figure.subplots(1, 2, sharey=True), ('parameters', 'gflops')):
            for number, (role, parts) in enumerate(networks.items()):
                values = {p['part']: p[key] for p in parts}
                axes.barh(
                    [i + number * height for i in range(len(names))],
                    [values.get(name) or 0 for name in names],
                    height,
                    label=role + unknown * (None in values.values()))
            axes.set(xlabel='GFLOPs' if key == 'gflops' else key)
            axes.locator_params(axis='x', nbins=6)
            axes.legend()
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        figure.savefig(file, dpi=120)
