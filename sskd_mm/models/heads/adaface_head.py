# Copyright (c) sskd_mm authors. All rights reserved.
import math

import torch
from mmengine.dist import all_gather
from mmengine.registry import MODELS
from torch import Tensor

from .margin_head import MarginHead


@MODELS.register_module()
class AdaFaceHead(MarginHead):
    r"""A margin that follows the quality of the image (*AdaFace*, arXiv
    2204.00964, section 3.3).

    The norm :math:`\|z\|` of an embedding stands for the quality. With its
    running mean :math:`\mu` and deviation :math:`\sigma`,

    .. math::
        q = \mathrm{clip}\Big(h \frac{\|z\| - \mu}{\sigma}, -1, 1\Big)
        \qquad
        f(\cos\theta) = \cos(\theta - m q) - m (1 + q)

    which is a negative margin of the angle and a large one of the cosine for
    good images (:math:`q = 1`), and a margin of the angle alone, as
    ArcFace's, for bad ones. No gradient goes through the norm. The angle
    with its margin is kept within half a turn.

    Args:
        margin (float): The :math:`m`. Defaults to 0.4.
        concentration (float): The :math:`h`. Defaults to 0.333.
        momentum (float): The share of a batch in the running mean and
            deviation. Defaults to 0.99.
        **kwargs: As :class:`MarginHead` has them.

    Example:
        >>> head = dict(type='AdaFaceHead', num_classes=93431)
    """

    def __init__(self,
                 *args,
                 margin: float = 0.4,
                 concentration: float = 0.333,
                 momentum: float = 0.99,
                 **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum
        # Where the public code starts from.
        self.register_buffer('norm_mean', torch.tensor(20.))
        self.register_buffer('norm_std', torch.tensor(100.))

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Add one to the angle and subtract one from the cosine."""
        quality = self._quality(embedding)
        eps = 1e-3  # The public code's.
        angle = cosine.clamp(-1 + eps, 1 - eps).acos()
        angle = (angle - self.margin * quality).clamp(eps, math.pi - eps)
        return angle.cos() - self.margin * (1 + quality)

    @torch.no_grad()
    def _quality(self, embedding: Tensor) -> Tensor:
        """The :math:`q` of each sample, (N, )."""
        norms = embedding.to(self.norm_mean.dtype).norm(dim=1)
        norms = norms.clamp(1e-3, 100)
        whole = torch.cat(all_gather(norms))
        # A single sample has no deviation.
        if self.training and len(whole) > 1:
            self.norm_mean.lerp_(whole.mean(), self.momentum)
            self.norm_std.lerp_(whole.std(), self.momentum)
        quality = (norms - self.norm_mean) / (self.norm_std + 1e-3)
        return (self.concentration * quality).clamp(-1, 1).to(embedding.dtype)
