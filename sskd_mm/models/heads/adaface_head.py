# Copyright (c) sskd_mm authors. All rights reserved.
import math

import torch
from mmengine.dist import all_gather
from mmengine.registry import MODELS
from torch import Tensor

from .margin_head import MarginHead


@MODELS.register_module()
class AdaFaceHead(MarginHead):
    r"""A margin that adapts to the image quality (*AdaFace*, arXiv
    2204.00964, section 3.3).

    The norm :math:`\|z\|` of an embedding is a proxy for the quality. With
    its running mean :math:`\mu` and standard deviation :math:`\sigma`,

    .. math::
        q = \mathrm{clip}\Big(h \frac{\|z\| - \mu}{\sigma}, -1, 1\Big)
        \qquad
        f(\cos\theta) = \cos(\theta - m q) - m (1 + q)

    For good images (:math:`q = 1`) this is a negative margin on the angle and
    a large one on the cosine; for bad ones, a margin on the angle alone, like
    ArcFace's. No gradient flows through the norm. The angle with its margin
    is clamped to :math:`[0, \pi]`.

    Args:
        margin (float): The :math:`m`. Defaults to 0.4.
        concentration (float): The :math:`h`. Defaults to 0.333.
        momentum (float): Weight of a batch in the running mean and standard
            deviation. Defaults to 0.99.
        **kwargs: Arguments of :class:`MarginHead`.

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
        # The public code's initial values.
        self.register_buffer('norm_mean', torch.tensor(20.))
        self.register_buffer('norm_std', torch.tensor(100.))

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Add a margin to the angle and subtract one from the cosine."""
        quality = self._quality(embedding)
        eps = 1e-3  # The public code's.
        angle = cosine.clamp(-1 + eps, 1 - eps).acos()
        angle = (angle - self.margin * quality).clamp(eps, math.pi - eps)
        return angle.cos() - self.margin * (1 + quality)

    @torch.no_grad()
    def _quality(self, embedding: Tensor) -> Tensor:
        """Compute the :math:`q` of each sample, (N, )."""
        norms = embedding.to(self.norm_mean.dtype).norm(dim=1)
        norms = norms.clamp(1e-3, 100)
        whole = torch.cat(all_gather(norms))
        # A single sample has no deviation.
        if self.training and len(whole) > 1:
            self.norm_mean.lerp_(whole.mean(), self.momentum)
            self.norm_std.lerp_(whole.std(), self.momentum)
        quality = (norms - self.norm_mean) / (self.norm_std + 1e-3)
        return (self.concentration * quality).clamp(-1, 1).to(embedding.dtype)
