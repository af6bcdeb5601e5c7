# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Dict

from mmengine.logging import print_log

from .partition import HEAD, StagePartition, _is_in_head


def find_left_out(partition: StagePartition) -> Dict[str, int]:
    """The parts of a student that are no head and that no tap depends on.

    Args:
        partition (StagePartition): The student's.

    Returns:
        dict[str, int]: The parameters of each by its name, the largest first.

    Example:
        >>> # RGB and infrared, stages=['backbone.layer4']
        >>> find_left_out(partition)
        {'backbone2': 11176512}
    """
    left = set(partition.params[HEAD])
    found = {}
    for part, module in partition.student.named_children():
        params = dict(module.named_parameters(prefix=part))
        if (params and left.issuperset(params)
                and not any(map(_is_in_head, params))):
            found[part] = sum(p.numel() for p in params.values())
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def warn_of_left_out(partition: StagePartition) -> None:
    """Log a warning that names what :func:`find_left_out` finds.

    Args:
        partition (StagePartition): The student's.
    """
    left = find_left_out(partition)
    if not left:
        return
    parts = ', '.join(f'{name} ({n:,} parameters)' for name, n in left.items())
    print_log(
        f'No stage covers {parts}: no tap depends on them, so they train in '
        'the phases head and finetune only. To mimic them too, name a module '
        f'in them: stages=[..., \'{next(iter(left))}...\'].',
        logger='current',
        level=logging.WARNING)
