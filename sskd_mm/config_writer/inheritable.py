# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List

from torch import nn


def find_inheritable(student: nn.Module, teacher: nn.Module) -> List[str]:
    """The parts behind the backbone that may start from the teacher's.

    Args:
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        list[str]: Names of those that are of one kind in both, and whose
        weights fit for the most part.

    Example:
        >>> find_inheritable(faster_rcnn_r18, faster_rcnn_r50)
        ['neck', 'rpn_head', 'roi_head']
    """
    names = []
    for name, module in student.named_children():
        other = getattr(teacher, name, None)
        # A network of timm or Hugging Face is a whole ``model``.
        if name in ('backbone', 'model') or type(other) is not type(module):
            continue
        shapes = {key: x.shape for key, x in other.state_dict().items()}
        sizes = {True: 0, False: 0}
        for key, x in module.state_dict().items():
            sizes[shapes.get(key) == x.shape] += x.numel()
        if sizes[True] > sizes[False]:
            names.append(name)
    return names
