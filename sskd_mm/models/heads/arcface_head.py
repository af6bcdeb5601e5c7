# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ...losses.arc_margin import arc_margin
from .margin_head import MarginHead


@MODELS.register_module()
class ArcFaceHead(MarginHead):
    r"""A margin of the angle (*ArcFace*, arXiv 1801.07698, Eq. 3).

    .. math::
        f(\cos\theta) = \begin{cases}
            \cos(\theta + m) & \theta + m < \pi \\
            \cos\theta - m \sin m & \text{else}
        \end{cases}

    The second line, which the paper lacks and its public code has, lets
    :math:`f` go on falling where the sum would pass half a turn.

    mmpretrain's ``ArcFaceClsHead`` computes the same. It has no sampled
    classes, its output is not that of a linear layer, which the losses of a
    :class:`JointDistiller` need, and its gradient is NaN for an embedding
    that lies on its centre.

    Args:
        margin (float): The :math:`m`, in radians. Defaults to 0.5.
        **kwargs: As :class:`MarginHead` has them.

    Example:
        >>> # A tenth of 93,431 identities in each step.
        >>> head = dict(
        >>>     type='ArcFaceHead', num_classes=93431, sample_rate=0.1)
    """

    def __init__(self, *args, margin: float = 0.5, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.margin = margin

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Add it to the angle."""
        return arc_margin(cosine, self.margin)
