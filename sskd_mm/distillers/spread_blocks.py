# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict

from torch import nn


def spread_blocks(student: nn.Module, teacher: nn.Module) -> Dict[str, str]:
    """Which of the teacher's blocks a shallower student starts from.

    Where a list of blocks in the student's backbone, such as the layers of a
    ResNet, is shorter than the teacher's of the same name and its blocks are
    of the same kind and size, block i of n stands for block
    ``i * N // n`` of N: those of ResNet-34 that ResNet-18 starts from are
    0 and 1 of ``layer1``, 0 and 2 of ``layer2``, 0 and 3 of ``layer3``, 0
    and 1 of ``layer4``. The first n, which have their names, would leave out
    all that a stage computes at its end.

    Args:
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        dict[str, str]: The student's blocks and the teacher's; what is not
        among them goes by its name.

    Example:
        >>> spread_blocks(resnet18, resnet34)['backbone.layer2.1']
        'backbone.layer2.2'
    """
    modules = dict(teacher.named_modules())
    spread = {}
    for path, blocks in student.named_modules():
        others = modules.get(path)
        if not path.startswith('backbone.') or not all(
                isinstance(x, (nn.Sequential, nn.ModuleList))
                for x in (blocks, others)) or len(blocks) >= len(others):
            continue
        chosen = [i * len(others) // len(blocks) for i in range(len(blocks))]
        if all(_alike(block, others[i]) for block, i in zip(blocks, chosen)):
            spread.update({
                f'{path}.{i}': f'{path}.{chosen[i]}'
                for i in range(len(blocks))
            })
    return spread


def _alike(block: nn.Module, other: nn.Module) -> bool:
    return type(block) is type(other) and bool(list(
        block.children())) and _shapes(block) == _shapes(other)


def _shapes(module: nn.Module) -> dict:
    return {name: x.shape for name, x in module.state_dict().items()}
