# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, broadcast
from torch import Tensor, nn

from .embedding_head import EmbeddingHead


class CosineLinear(nn.Linear):
    """Scaled cosines between embeddings and class centres.

    Computed in the precision of the centres even under autocast, because
    half precision would round the margin away.

    Args:
        in_channels (int): Size of an embedding.
        num_classes (int): Number of centres.
        scale (float): Factor of the cosines.
    """

    def __init__(self, in_channels: int, num_classes: int,
                 scale: float) -> None:
        super().__init__(in_channels, num_classes, bias=False)
        self.scale = scale

    def forward(self, x: Tensor, classes: Optional[Tensor] = None) -> Tensor:
        """Compare embeddings with the centres.

        Args:
            x (Tensor): Embeddings (N, C).
            classes (Tensor, optional): The classes to compare with, (S, ).
                Defaults to all.

        Returns:
            Tensor: Scaled cosines (N, S).
        """
        weight = self.weight if classes is None else self.weight[classes]
        with torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.to(weight.dtype))
            return self.scale * F.linear(x, F.normalize(weight))


class MarginHead(EmbeddingHead):
    r"""Base class of heads that classify identities by angle, with a margin.

    With :math:`\cos\theta_j` the cosine between an embedding and the centre
    of class :math:`j`, :math:`y` the target class, :math:`s` a scale and
    :math:`f` the margin, which the subclass defines,

    .. math::
        L = -\log \frac{e^{s f(\cos\theta_y)}}
        {e^{s f(\cos\theta_y)} + \sum_{j \ne y} e^{s \cos\theta_j}}

    averaged over the batch. Outside the loss the output is
    :math:`s \cos\theta_j` for all classes, like that of a linear layer.

    For very many identities the sum can run over a sample of them (Partial
    FC, arXiv 2203.15565): the classes of the batch and others drawn anew in
    each step. In distributed training all processes draw the same classes, so
    that they train like one process with the whole batch; each holds all
    centres.

    Args:
        num_classes (int): Number of identities.
        in_channels (int): Size of an embedding. Defaults to 512.
        scale (float): The :math:`s`. Defaults to 64.
        sample_rate (float): Fraction of the classes that the sum runs over,
            in (0, 1]. Defaults to 1, all of them.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            a normal distribution with standard deviation 0.01.

    Raises:
        ValueError: ``num_classes`` or ``sample_rate`` is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 512,
        scale: float = 64.,
        sample_rate: float = 1.,
        init_cfg: Optional[dict] = dict(
            type='Normal', layer='Linear', std=0.01)
    ) -> None:
        super().__init__(init_cfg)
        if num_classes <= 0:
            raise ValueError(f'num_classes={num_classes} must be the number '
                             'of identities in the training data.')
        if not 0 < sample_rate <= 1:
            raise ValueError(f'sample_rate={sample_rate} is the fraction of '
                             'classes to compare; it must be above 0 and at '
                             'most 1.')
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.scale = scale
        self.sample_rate = sample_rate
        self.fc = CosineLinear(in_channels, num_classes, scale)

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Apply the margin :math:`f`.

        Args:
            cosine (Tensor): Cosine of each sample with its target class,
                (N, ).
            embedding (Tensor): The embeddings (N, C).

        Returns:
            Tensor: The value that replaces ``cosine``, (N, ).
        """
        raise NotImplementedError

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """Compare with all classes, without a margin.

        Args:
            feats (tuple[Tensor]): Features of the backbone, the last one
                (N, C).

        Returns:
            Tensor: Scaled cosines (N, num_classes).
        """
        return self.fc(feats[-1])

    def loss(self, feats: Tuple[Tensor, ...],
             data_samples: list) -> Dict[str, Tensor]:
        """Compute the loss.

        Args:
            feats (tuple[Tensor]): Features of the backbone, the last one
                (N, C).
            data_samples (list[DataSample]): Samples with ``gt_label``.

        Returns:
            dict[str, Tensor]: ``loss``, a scalar.

        Raises:
            ValueError: An image has several classes, as after Mixup.
        """
        if 'gt_score' in data_samples[0]:
            raise ValueError(
                f'{type(self).__name__} needs one identity per image; remove '
                'train_cfg.augments (Mixup, CutMix) from the model.')
        embedding = feats[-1]
        labels = torch.cat([sample.gt_label for sample in data_samples])
        classes, targets = None, labels
        if self.sample_rate < 1:
            classes = self.sample_classes(labels)
            targets = torch.searchsorted(classes, labels)
        logits = self.fc(embedding, classes)
        targets = targets[:, None]
        cosine = logits.gather(1, targets)[:, 0] / self.scale
        own = self.scale * self.add_margin(cosine, embedding)
        logits = logits.scatter(1, targets, own[:, None])
        return dict(loss=F.cross_entropy(logits, targets[:, 0]))

    @torch.no_grad()
    def sample_classes(self, labels: Tensor) -> Tensor:
        """Pick the classes of the whole batch and others at random.

        Their number is the same in each step, so that nothing waits for the
        GPU: ``sample_rate`` of the classes, or as many as the batch has
        samples if that is more.

        Args:
            labels (Tensor): Labels of this process, (N, ).

        Returns:
            Tensor: The classes, ascending, the same in all processes, (S, ).
        """
        labels = torch.cat(all_gather(labels))
        number = max(int(self.sample_rate * self.num_classes), len(labels))
        order = torch.rand(self.num_classes, device=labels.device)
        broadcast(order)
        order[labels] = 2.
        number = min(number, self.num_classes)
        return order.topk(number).indices.sort().values
