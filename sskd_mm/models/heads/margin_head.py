# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, broadcast
from torch import Tensor, nn

from .embedding_head import EmbeddingHead


class CosineLinear(nn.Linear):
    """Cosines between embeddings and class centres, times a scale.

    Computed in the precision of the centres, whatever the autocast: a margin
    is lost in the rounding of half precision.

    Args:
        in_channels (int): Size of an embedding.
        num_classes (int): Number of the centres.
        scale (float): What cosines are multiplied with.
    """

    def __init__(self, in_channels: int, num_classes: int,
                 scale: float) -> None:
        super().__init__(in_channels, num_classes, bias=False)
        self.scale = scale

    def forward(self, x: Tensor, classes: Optional[Tensor] = None) -> Tensor:
        """Compare with the centres.

        Args:
            x (Tensor): Embeddings (N, C).
            classes (Tensor, optional): Which classes, (S, ). Defaults to all.

        Returns:
            Tensor: (N, S).
        """
        weight = self.weight if classes is None else self.weight[classes]
        with torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.to(weight.dtype))
            return self.scale * F.linear(x, F.normalize(weight))


class MarginHead(EmbeddingHead):
    r"""Base of the heads that tell identities apart by angles, with a margin.

    With :math:`\cos\theta_j` the cosine between an embedding and the centre
    of class :math:`j`, :math:`y` its own class, :math:`s` a scale and
    :math:`f` the margin, which the subclass has,

    .. math::
        L = -\log \frac{e^{s f(\cos\theta_y)}}
        {e^{s f(\cos\theta_y)} + \sum_{j \ne y} e^{s \cos\theta_j}}

    averaged over the batch. Outside of the loss its output is
    :math:`s \cos\theta_j` of all classes, that of a linear layer.

    For very many identities the sum may run over a sample of them (Partial
    FC, arXiv 2203.15565): the classes of the batch, and others drawn anew in
    each step. Several processes draw the same, so that they train as one
    with the whole batch; each holds all centres.

    Args:
        num_classes (int): Number of identities.
        in_channels (int): Size of an embedding. Defaults to 512.
        scale (float): The :math:`s`. Defaults to 64.
        sample_rate (float): The share of the classes that the sum runs over,
            in (0, 1]. Defaults to 1, all of them.
        init_cfg (dict, optional): Config of the initialisation. Defaults to
            a normal distribution of deviation 0.01.

    Raises:
        ValueError: No classes, or a share that is none.
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
            raise ValueError(f'sample_rate={sample_rate} is the share of the '
                             'classes that are compared; it must be above 0 '
                             'and at most 1.')
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.scale = scale
        self.sample_rate = sample_rate
        self.fc = CosineLinear(in_channels, num_classes, scale)

    def add_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """The margin :math:`f`.

        Args:
            cosine (Tensor): Each sample's with its own class, (N, ).
            embedding (Tensor): The embeddings (N, C).

        Returns:
            Tensor: What takes the place of ``cosine``, (N, ).
        """
        raise NotImplementedError

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """Compare with all classes, without a margin.

        Args:
            feats (tuple[Tensor]): The backbone's, the last one (N, C).

        Returns:
            Tensor: Scaled cosines (N, num_classes).
        """
        return self.fc(feats[-1])

    def loss(self, feats: Tuple[Tensor, ...],
             data_samples: list) -> Dict[str, Tensor]:
        """Compute the loss.

        Args:
            feats (tuple[Tensor]): The backbone's, the last one (N, C).
            data_samples (list[DataSample]): With ``gt_label`` of each.

        Returns:
            dict[str, Tensor]: ``loss``, a scalar.

        Raises:
            ValueError: Images of several classes at once, as a mixup makes.
        """
        if 'gt_score' in data_samples[0]:
            raise ValueError(
                f'{type(self).__name__} takes images of one identity each; '
                'leave out train_cfg.augments of the model (Mixup, CutMix).')
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
        """The classes of the whole batch and others drawn at random.

        There are as many in each step, so that nothing waits for the GPU: a
        batch with more classes than the share has room for gets as many as
        it has samples.

        Args:
            labels (Tensor): This process's, (N, ).

        Returns:
            Tensor: Ascending, the same in all processes, (S, ).
        """
        labels = torch.cat(all_gather(labels))
        number = max(int(self.sample_rate * self.num_classes), len(labels))
        order = torch.rand(self.num_classes, device=labels.device)
        broadcast(order)
        order[labels] = 2.
        number = min(number, self.num_classes)
        return order.topk(number).indices.sort().values
