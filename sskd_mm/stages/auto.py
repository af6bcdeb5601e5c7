# Copyright (c) sskd_mm authors. All rights reserved.
import re
from typing import Iterator, List, Sequence, Tuple

import torch.nn as nn

#: Number of stages of a backbone whose blocks are all alike, such as a ViT.
NUM_GROUPS = 4

_SEQUENCES = (nn.ModuleList, nn.Sequential)


def find_stages(model: nn.Module) -> List[str]:
    """Find the module paths of a network's stages, in the order of execution.

    They are the backbone's stages up to its last output, and the neck if it
    has weights. No network is known by name. The stages come from the list
    that holds most of the backbone's layers: a list of child names
    (``res_layers`` of a ResNet), a ``ModuleList`` or ``Sequential``
    (``stages`` of a ConvNeXt), or numbered children (``blocks1`` ... of a
    VAN).

    - A sequence of blocks is a stage. A single layer among them (a stem, a
      patch embedding) belongs to the next stage, one at the end (the last
      convolution of a MobileNetV2) to the previous one.
    - Single blocks or layers are grouped into stages that begin where the
      resolution drops (MobileNetV3, VGG). If it never drops, as in a ViT, a
      stage ends at each of several ``out_indices``, or else at each quarter
      of the depth.

    The stem belongs to the first stage. What lies after the last stage's
    tap, such as a ViT's last norm, belongs to the neck or else the head.

    Args:
        model (nn.Module): A model with a ``backbone`` and maybe a ``neck``,
            as in OpenMMLab, or one that wraps a ``model`` of timm or Hugging
            Face.

    Returns:
        list[str]: For a ResNet with FPN ``['backbone.layer1', ...,
        'backbone.layer4', 'neck']``.

    Raises:
        ValueError: The stages of this kind of backbone are unknown.
    """
    for root in ('backbone', 'model'):
        backbone = getattr(model, root, None)
        if isinstance(backbone, nn.Module):
            break
    else:
        raise ValueError(
            f"stages='auto' needs a model with a backbone, but "
            f'{type(model).__name__} has none. Write the stages as a list of '
            'module paths; its modules are: '
            f'{", ".join(name for name, _ in model.named_children())}.')
    stages = _backbone_stages(backbone)
    if not stages:
        raise ValueError(
            f"stages='auto' does not know the stages of "
            f'{type(backbone).__name__}. Write them as a list of module '
            'paths, e.g. ' +
            ', '.join(f"'{root}.{name}'"
                      for name, _ in backbone.named_children()) + '.')
    paths = [f'{root}.{_tap(backbone, name)}' for name in stages]
    neck = getattr(model, 'neck', None)
    if neck is not None and _weights(neck):
        paths.append('neck')
    return paths


def _backbone_stages(backbone: nn.Module) -> List[str]:
    names = _main_list(backbone)
    out = getattr(backbone, 'out_indices', None) or ()
    if all(_weights(backbone.get_submodule(name)) for name in names):
        names, out = _up_to_last(names, out)
        return [names[i] for i in _ends(backbone, names, out)]
    # With single layers (VGG), out_indices count the stages they form.
    stages = [names[i] for i in _ends(backbone, names, ())]
    return _up_to_last(stages, out)[0]


def _main_list(backbone: nn.Module) -> List[str]:
    """The entries of the list that holds most of the layers."""

    def size(names):
        return sum(_weights(backbone.get_submodule(name)) for name in names)

    # Lists of names first: out_indices refer to them.
    for lists in (_lists_of_names, _lists_of_modules):
        names = max(lists(backbone), key=size, default=[])
        if 2 * size(names) > _weights(backbone):
            return names
    return []


def _lists_of_names(backbone: nn.Module) -> Iterator[List[str]]:
    for path, module in backbone.named_modules():
        children = dict(module.named_children())
        for value in vars(module).values():
            if isinstance(value, (list, tuple)) and value and all(
                    isinstance(name, str) and name in children
                    for name in value):
                yield _join(path, value)


def _lists_of_modules(backbone: nn.Module) -> Iterator[List[str]]:
    for path, module in backbone.named_modules():
        names = [name for name, _ in module.named_children()]
        if isinstance(module, _SEQUENCES):
            if len(names) > 1:
                yield _join(path, names)
            continue
        numbered = {}
        for name in names:
            found = re.fullmatch(r'(\D+)(\d+)', name)
            if found:
                # An HRNet's layer1 is followed by stage2.
                kind = found[1].replace('layer', 'stage')
                numbered.setdefault(kind, []).append((int(found[2]), name))
        for group in numbered.values():
            yield _join(path, [name for _, name in sorted(group)])


def _up_to_last(names: List[str],
                out: Sequence[int]) -> Tuple[List[str], List[int]]:
    """The names up to the last output, and the valid output indices."""
    out = sorted(i + len(names) if i < 0 else i for i in out)
    names = names[:out[-1] + 1] if out else names
    return names, [i for i in out if i < len(names)]


def _ends(backbone: nn.Module, names: Sequence[str],
          out: Sequence[int]) -> List[int]:
    """The entries of a list at which stages end."""
    modules = [backbone.get_submodule(name) for name in names]
    shapes = {tuple(p.shape for p in m.parameters()) for m in modules}
    sequences = [
        i for i, module in enumerate(modules)
        if _is_sequence(module) and not names[i].endswith('stem')
    ]
    last = len(names) - 1
    if sequences and len(shapes) > 1:
        return sequences[:-1] + [last]
    if len(names) <= NUM_GROUPS and all(shapes):
        return list(range(len(names)))
    starts = _starts(modules)
    # If most have strides, these are off the main path (pooled keys).
    if 0 < len(starts) <= len(names) / 2:
        return [i - 1 for i in starts] + [last]
    if len(out) > 1:
        return list(out)
    return sorted({
        -(-len(names) * k // NUM_GROUPS) - 1
        for k in range(1, NUM_GROUPS + 1)
    })


def _starts(modules: Sequence[nn.Module]) -> List[int]:
    """The layers with weights whose input or output has a lower resolution.

    The first two do not count: they are the stem.
    """
    starts, reduced = [], False
    for i, module in enumerate(modules):
        reduced = reduced or _is_strided(module)
        if _weights(module):
            if reduced and i > 1:
                starts.append(i)
            reduced = False
    return starts


def _is_strided(module: nn.Module) -> bool:
    return any(
        max(m.stride) > 1 if isinstance(m.stride, tuple) else m.stride > 1
        for m in module.modules()
        if isinstance(m, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)))


def _is_sequence(module: nn.Module) -> bool:
    return any(isinstance(m, _SEQUENCES) for m in (module, *module.children()))


def _tap(backbone: nn.Module, path: str) -> str:
    """The module whose output is that of this stage."""
    module = backbone.get_submodule(path)
    if hasattr(module, 'blocks') and hasattr(module, 'downsample'):
        # Most of Swin's stages end with the patch merging of the next one:
        # tap before it.
        path, module = f'{path}.blocks', module.blocks
    while isinstance(module, nn.ModuleList):
        # A ModuleList is not called.
        path, module = f'{path}.{len(module) - 1}', module[-1]
    return path


def _weights(module: nn.Module) -> int:
    return sum(1 for _ in module.parameters())


def _join(path: str, names: Sequence[str]) -> List[str]:
    return [f'{path}.{name}' if path else name for name in names]
