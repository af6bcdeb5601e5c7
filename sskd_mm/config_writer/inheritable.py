# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List

from torch import nn


def find_inheritable(student: nn.Module, teacher: nn.Module) -> List[str]:
    """Find the parts after the backbone that can start from the teacher's.

    Args:
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        list[str]: Names of parts that have the same type in both networks and
        whose weights mostly fit.

    Example:
        >>> find_inheritable(faster_rcnn_r18, faster_rcnn_r50)
        ['neck', 'rpn_head', 'roi_head']
    """
    names = []
    for name, module in student.named_children():
        other = getattr(teacher, name, None)
        # A timm or Hugging Face network is a single ``model``.
        if name in ('backbone', 'model') or type(other) is not type(module):
            continue
        shapes = {key: x.shape for key, x in other.state_dict().items()}
        sizes = {True: 0, False: 0}
        for key, x in module.state_dict().items():
            sizes[shapes.get(key) == x.shape] += x.numel()
        if sizes[True] > sizes[False]:
            names.append(name)
    return names
