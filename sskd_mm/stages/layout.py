# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import contextmanager
from itertools import repeat
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmengine.logging import MMLogger
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from .prefix import Features, run_prefix
from .stage import Stage, default_name
from .tokens import find_grid

#: The layouts in which features are compared.
_CANONICAL = ('NC', 'NLC', 'NCHW')
#: The canonical order by number of axes. ``NLHWC`` are L windows of H x W
#: cells each, which become a map.
_FORMS = {2: 'NC', 3: 'NLC', 4: 'NCHW', 5: 'NLHWC'}


def find_layouts(model: nn.Module, stages: Sequence[Stage], network: int,
                 inputs: Tensor) -> Dict[str, Tuple[str, ...]]:
    """Find the axis layout of each tap's features in a network.

    The config's ``layout`` takes precedence. Two axes are embeddings (N, C),
    three are tokens (N, L, C). Of four, height and width are two neighbours
    with the image's proportions. If both candidates match (64 channels of
    64 x 64), the tap's other levels decide, or that the module consists of
    convolutions and their norms, which have channels first, or an image of
    twice the size, which doubles height and width only.

    Args:
        model (nn.Module): A model with OpenMMLab's
            ``forward(inputs, data_samples, mode='tensor')``.
        stages (Sequence[Stage]): Where to compare, and the config's layouts.
        network (int): 0 for the student, k for the k-th teacher.
        inputs (Tensor): A batch for this network, (N, C, H, W).

    Returns:
        dict[str, tuple[str]]: For each tap the layout of each level, such as
        ``'NCHW'`` or ``'NHWC'``.

    Raises:
        ValueError: A layout is ambiguous, wrong, or cannot be compared; the
            message says what to write.

    Example:
        >>> find_layouts(vit_sam, stages, 0, torch.rand(2, 3, 64, 64))
        {'backbone.layers.2': ('NHWC',)}
    """
    taps = {s.paths[network]: s for s in stages if s.paths[network]}
    features = _run(model, list(taps), inputs)
    for path, stage in taps.items():
        _check_given(_Tap(stage, network), features[path])
    layouts = {
        path: [
            _find_layout(model, _Tap(stage, network), x, inputs)
            for x in features[path]
        ]
        for path, stage in taps.items()
    }
    for found in layouts.values():
        # The levels of one tap are laid out alike.
        known = {x for x in found if x and len(x) == 4}
        if len(known) == 1:
            found[:] = [x or next(iter(known)) for x in found]
    unknown = [path for path in taps if None in layouts[path]]
    if unknown:
        larger = _run_larger(model, unknown, inputs)
        for path in unknown:
            tap = _Tap(taps[path], network)
            layouts[path] = [
                layout or _by_growth(tap, x, y, inputs)
                for layout, x, y in zip(layouts[path], features[path],
                                        larger.get(path, repeat(None)))
            ]
    for path, found in layouts.items():
        others = sorted({x for x in found if x not in _CANONICAL})
        if others:
            MMLogger.get_current_instance().info(
                f'{_Tap(taps[path], network)} outputs '
                f'{" and ".join(map(_axes, others))}; the axes are permuted '
                'for the comparison.')
    return {path: tuple(found) for path, found in layouts.items()}


def to_canonical(features: Sequence[Tensor], layouts: Sequence[str],
                 image_size: Sequence[int]) -> List[Tensor]:
    """Permute a tap's outputs to the layouts in which features are compared.

    Args:
        features (Sequence[Tensor]): The outputs, one per level.
        layouts (Sequence[str]): Their layouts, see :func:`find_layouts`.
        image_size (Sequence[int]): Height and width of the network's input.

    Returns:
        list[Tensor]: Maps (N, C, H, W), tokens (N, L, C) and embeddings
        (N, C). Views, except for ``NLHWC``.

    Raises:
        ValueError: The windows of a ``NLHWC`` form no grid of the image's
            proportions.

    Example:
        >>> map, = to_canonical([torch.rand(2, 8, 8, 24)], ['NHWC'], (64, 64))
        >>> map.shape
        torch.Size([2, 24, 8, 8])
    """
    return [
        _to_form(feature, layout, image_size)
        for feature, layout in zip(features, layouts)
    ]


def from_canonical(features: Sequence[Tensor], layouts: Sequence[str],
                   outputs: Sequence[Tensor]) -> List[Tensor]:
    """The inverse of :func:`to_canonical`, for features that replace the
    network's own.

    Args:
        features (Sequence[Tensor]): In the layouts of comparison.
        layouts (Sequence[str]): The layouts to return.
        outputs (Sequence[Tensor]): The network's own, in these layouts.

    Returns:
        list[Tensor]: Of the shapes of ``outputs``.
    """
    return [
        _from_form(feature, layout, output)
        for feature, layout, output in zip(features, layouts, outputs)
    ]


def _to_form(feature: Tensor, layout: str,
             image_size: Sequence[int]) -> Tensor:
    form = _FORMS[len(layout)]
    if layout != form:
        feature = feature.permute(*map(layout.index, form))
    if form == 'NLHWC':
        grid = find_grid(feature.shape[1], image_size)
        if grid is None:
            raise ValueError(
                f'{feature.shape[1]} windows form no grid of the proportions '
                f'of an image of {image_size[0]} x {image_size[1]}.')
        # (N, rows, columns, h, w, C) -> (N, C, rows, h, columns, w)
        feature = feature.unflatten(1, grid).permute(0, 5, 1, 3, 2, 4)
        feature = feature.flatten(4, 5).flatten(2, 3)
    return feature


def _from_form(feature: Tensor, layout: str, output: Tensor) -> Tensor:
    form = _FORMS[len(layout)]
    if form == 'NLHWC':
        height, width = (output.shape[layout.index(x)] for x in 'HW')
        # (N, C, rows, h, columns, w) -> (N, rows, columns, h, w, C)
        feature = feature.unflatten(3, (-1, width)).unflatten(2, (-1, height))
        feature = feature.permute(0, 2, 4, 3, 5, 1).flatten(1, 2)
    elif layout == form:
        return feature
    feature = feature.permute(*map(form.index, layout))
    # A network may call view() on its feature, which needs a contiguous one.
    return feature.contiguous() if output.is_contiguous() else feature


class _Tap:
    """A tap of one network, for messages."""

    def __init__(self, stage: Stage, network: int) -> None:
        self.stage, self.network = stage, network
        self.path = stage.paths[network]
        self.given = stage.layouts[network] if stage.layouts else None

    def __str__(self) -> str:
        role = 'teacher' if self.network else 'student'
        return f"Stage {self.stage.name!r}: the {role}'s tap {self.path!r}"

    def entry(self, layout: str) -> str:
        """The entry to write in ``stages``."""
        student, *teachers = self.stage.paths
        given = [*(self.stage.layouts or [None] * len(self.stage.paths))]
        given[self.network] = layout
        one = len(teachers) == 1
        entry = dict(student=student, teacher=teachers[0] if one else teachers)
        if self.stage.name != default_name(student):
            entry['name'] = self.stage.name
        own, *others = given
        layouts = dict(student=own, teacher=others[0] if one else others)
        if not any(others):
            del layouts['teacher']
        if own is None:
            del layouts['student']
        return f'dict({_arguments(entry)}, layout=dict({_arguments(layouts)}))'


def _check_given(tap: _Tap, features: Features) -> None:
    # Of maps and tokens, it applies to those with as many axes.
    if tap.given and len(tap.given) not in {x.dim() for x in features}:
        raise ValueError(
            f'{tap} outputs {[tuple(x.shape) for x in features]}, but '
            f'layout={tap.given!r} names {len(tap.given)} axes.')


def _find_layout(model: nn.Module, tap: _Tap, feature: Tensor,
                 inputs: Tensor) -> Optional[str]:
    """The layout of a feature; None if its shape is ambiguous."""
    shape, axes = tuple(feature.shape), feature.dim()
    if axes not in _FORMS:
        raise ValueError(
            f'{tap} outputs {shape}; features are compared as maps '
            '(N, C, H, W), tokens (N, L, C) or embeddings (N, C). Tap a '
            'module that outputs one of these.')
    readings = _readings(shape, inputs) if axes == 4 else [_FORMS[axes]]
    layout = readings[0] if len(readings) == 1 else None
    if len(readings) == 2 and _is_convolutional(
            model.get_submodule(tap.path)):
        layout = 'NCHW'
    if tap.given is not None and len(tap.given) == axes:
        if layout not in (None, tap.given) and axes == 4:
            MMLogger.get_current_instance().warning(
                f'{tap} outputs {shape}, which looks like {_axes(layout)}; it '
                f'is compared as {_axes(tap.given)} because of '
                f'layout={tap.given!r}.')
        layout = tap.given
    elif axes == 5 and not _has_places(model.get_submodule(tap.path)):
        raise ValueError(
            f'{tap} outputs {shape}, whose five axes are unknown. '
            'Tap a module that outputs maps, such as the whole backbone. If '
            'they are (N, L, H, W, C), L windows of the image row by row with '
            f'H x W cells each, write {tap.entry("NLHWC")} in `stages`.')
    if shape[layout.index('N') if layout else 0] != len(inputs):
        remedy = (' If the second axis is the images, write '
                  f'{tap.entry("LNC")} in `stages`.') if axes == 3 else ''
        raise ValueError(
            f'{tap} outputs {shape} for {len(inputs)} images, so its first '
            'axis is not the images, but maybe windows or boxes. Tap the '
            f'module around it.{remedy}')
    return layout


def _is_convolutional(module: nn.Module) -> bool:
    """Whether all weights of a module are of convolutions and their norms."""
    owners = [
        m for m in module.modules()
        if any(True for _ in m.parameters(recurse=False))
    ]
    return bool(owners) and all(
        isinstance(m, (_ConvNd, _BatchNorm, nn.GroupNorm)) for m in owners)


def _has_places(module: nn.Module) -> bool:
    """Whether its five axes are (N, L, H, W, C), as in mmpretrain's HiViT,
    which splits each position into 4 x 4 cells that it later merges."""
    return type(module).__module__.endswith('.hivit')


def _readings(shape: Sequence[int], inputs: Tensor) -> List[str]:
    """The layouts in which a feature of four axes has channels and the
    image's proportions."""
    readings = dict(NCHW=(1, 2, 3), NHWC=(3, 1, 2))
    return [
        layout for layout, (c, h, w) in readings.items()
        if shape[c] > 1 and _is_grid(shape[h], shape[w], inputs.shape[-2:])
    ]


def _is_grid(height: int, width: int, image_size: Sequence[int]) -> bool:
    """Whether a size has an image's proportions, up to rounding, or is square,
    as after pooling to a fixed size."""
    sides = list(zip(image_size, (height, width)))
    # The range of strides that give this size.
    least = max(whole / (part + 1) for whole, part in sides)
    most = min(whole / max(part - 1, 1e-9) for whole, part in sides)
    return height == width or least < most


def _by_growth(tap: _Tap, feature: Tensor, larger: Optional[Tensor],
               inputs: Tensor) -> str:
    """The layout whose height and width grow with the image."""
    shape = tuple(feature.shape[1:])
    if larger is not None and larger.dim() == 4:
        grown = [k for k in (1, 2, 3) if larger.shape[k] > feature.shape[k]]
        if grown in ([2, 3], [1, 2]):
            return 'NCHW' if grown == [2, 3] else 'NHWC'
    height, width = inputs.shape[-2:]
    raise ValueError(
        f'{tap} outputs {shape} for an image of {height} x {width}, which '
        'may be (C, H, W) or (H, W, C); an image of twice the size does not '
        f"decide it either. Write {tap.entry('NCHW')} in the list `stages` "
        "if channels come first, with 'NHWC' if they come last.")


def _run_larger(model: nn.Module, taps: List[str],
                inputs: Tensor) -> Dict[str, Features]:
    """The features of the first image, tiled to twice its size; none if the
    network takes one size only."""
    try:
        return _run(model, taps, inputs[:1].repeat(1, 1, 2, 2))
    except Exception:  # networks fail in different ways
        return {}


def _run(model: nn.Module, taps: List[str],
         inputs: Tensor) -> Dict[str, Features]:
    with _evaluating(model), torch.no_grad():
        return run_prefix(model, taps, inputs)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _axes(layout: str) -> str:
    return f'({", ".join(layout)})'


def _arguments(values: dict) -> str:
    return ', '.join(f'{key}={value!r}' for key, value in values.items())
