# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict

from torch import nn


def spread_blocks(student: nn.Module, teacher: nn.Module) -> Dict[str, str]:
    """Pair a shallower student's blocks with the teacher's, for inheritance.

    Where a list of blocks in the student's backbone, such as a layer of a
    ResNet, is shorter than the teacher's, and the blocks are of the same kind
    and size, block ``i`` of ``n`` starts from block ``i * N // n`` of ``N``.
    Blocks of the same index would skip the last blocks of each stage.

    Args:
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        dict[str, str]: Paths of the student's blocks and of the teacher's;
        blocks of equally deep lists are left out.

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
