# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from .margin_head import MarginHead


@MODELS.register_module()
class NormSoftmaxHead(MarginHead):
    r"""Softmax over cosines, without a margin (*NormFace*, arXiv 1704.06369).

    .. math::
        f(\cos\theta) = \cos\theta

    Args:
        **kwargs: Arguments of :class:`MarginHead`.

    Example:
        >>> head = dict(type='NormSoftmaxHead', num_classes=93431)
    """

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Return the cosine unchanged: there is no margin."""
        return cosine
