# Copyright (c) sskd_mm authors. All rights reserved.
import math

import torch
from torch import Tensor


def arc_margin(cosine: Tensor, margin: float) -> Tensor:
    r"""Add a margin to angles given by their cosines.

    ArcFace (arXiv 1801.07698, Eq. 3) has :math:`\cos(\theta + m)`. Its
    public code switches to :math:`\cos\theta - m \sin m` where
    :math:`\theta + m` exceeds :math:`\pi`, so that the result keeps falling.

    Args:
        cosine (Tensor): The :math:`\cos\theta`, any shape.
        margin (float): The :math:`m`, in radians.

    Returns:
        Tensor: Same shape.
    """
    # Clamped because the root has no finite gradient at angle 0.
    sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
    shifted = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), shifted,
                       cosine - margin * math.sin(margin))
