# Copyright (c) sskd_mm authors. All rights reserved.
import math

import torch
from torch import Tensor


def arc_margin(cosine: Tensor, margin: float) -> Tensor:
    r"""Add a margin to angles that are given by their cosines.

    ArcFace (arXiv 1801.07698, Eq. 3) has :math:`\cos(\theta + m)`. Its
    public code goes on with :math:`\cos\theta - m \sin m` where the sum
    passes half a turn, so that the result goes on falling there.

    Args:
        cosine (Tensor): The :math:`\cos\theta`, of any shape.
        margin (float): The :math:`m`, in radians.

    Returns:
        Tensor: Of the same shape.
    """
    # Where it is clamped, at angle 0, the root would have no gradient.
    sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
    shifted = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), shifted,
                       cosine - margin * math.sin(margin))
