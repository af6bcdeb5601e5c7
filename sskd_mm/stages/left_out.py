# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict

from mmengine.logging import MMLogger

from .partition import HEAD, StagePartition, _is_in_head


def warn_of_left_out(partition: StagePartition) -> Dict[str, int]:
    """Warn of parts of a student, other than heads, that no tap depends on.

    Args:
        partition (StagePartition): The student's.

    Returns:
        dict[str, int]: Their parameter counts by name, largest first.

    Example:
        >>> # RGB and infrared, stages=['backbone.layer4']
        >>> warn_of_left_out(partition)
        {'backbone2': 11176512}
    """
    left = set(partition.params[HEAD])
    sizes = {}
    for part, module in partition.student.named_children():
        params = dict(module.named_parameters(prefix=part))
        if (params and left.issuperset(params)
                and not any(map(_is_in_head, params))):
            sizes[part] = sum(p.numel() for p in params.values())
    sizes = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    if sizes:
        parts = ', '.join(
            f'{name} ({size:,} parameters)' for name, size in sizes.items())
        MMLogger.get_current_instance().warning(
            f'No stage covers {parts}: no tap depends on them, so they train '
            'in the phases head and finetune only. To mimic them too, tap a '
            f"module in them: stages=[..., '{next(iter(sizes))}...'].")
    return sizes
