# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from .margin_head import MarginHead


@MODELS.register_module()
class CosFaceHead(MarginHead):
    r"""A margin on the cosine (*CosFace*, arXiv 1801.09414, Eq. 4).

    .. math::
        f(\cos\theta) = \cos\theta - m

    Args:
        margin (float): The :math:`m`. Defaults to 0.4, as in insightface; the
            paper uses 0.35.
        **kwargs: Arguments of :class:`MarginHead`.

    Example:
        >>> head = dict(type='CosFaceHead', num_classes=93431)
    """

    def __init__(self, *args, margin: float = 0.4, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.margin = margin

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Subtract the margin."""
        return cosine - self.margin
