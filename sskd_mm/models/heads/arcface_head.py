# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ...losses.arc_margin import arc_margin
from .margin_head import MarginHead


@MODELS.register_module()
class ArcFaceHead(MarginHead):
    r"""A margin on the angle (*ArcFace*, arXiv 1801.07698, Eq. 3).

    .. math::
        f(\cos\theta) = \begin{cases}
            \cos(\theta + m) & \theta + m < \pi \\
            \cos\theta - m \sin m & \text{else}
        \end{cases}

    The second case, from the public code but not in the paper, keeps
    :math:`f` falling where the sum exceeds :math:`\pi`.

    mmpretrain's ``ArcFaceClsHead`` computes the same loss, but does not
    sample classes, does not output what a linear layer would, which the
    losses of a :class:`JointDistiller` need, and has a NaN gradient for an
    embedding that coincides with its centre.

    Args:
        margin (float): The :math:`m`, in radians. Defaults to 0.5.
        **kwargs: Arguments of :class:`MarginHead`.

    Example:
        >>> # A tenth of 93,431 identities per step.
        >>> head = dict(
        >>>     type='ArcFaceHead', num_classes=93431, sample_rate=0.1)
    """

    def __init__(self, *args, margin: float = 0.5, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.margin = margin

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Add the margin to the angle."""
        return arc_margin(cosine, self.margin)
