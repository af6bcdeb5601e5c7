# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, List, Optional, Tuple

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class EmbeddingHead(BaseModule):
    """Passes through the backbone's embedding; it has no weights.

    It turns an mmpretrain classifier into an embedding network: for weights
    without class centres, and for a student trained on unlabelled images.

    Example:
        >>> model = dict(
        >>>     type='ImageClassifier',
        >>>     backbone=dict(type='IResNet', depth=50),
        >>>     head=dict(type='EmbeddingHead'))
    """

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """Return the last feature.

        Args:
            feats (tuple[Tensor]): Features of the backbone, the last one
                (N, C).

        Returns:
            Tensor: The embeddings (N, C).
        """
        return feats[-1]

    def loss(self, feats: Tuple[Tensor, ...],
             data_samples: list) -> Dict[str, Tensor]:
        """Refuse to train.

        Raises:
            RuntimeError: Always; the message says what to use instead.
        """
        raise RuntimeError(
            f'{type(self).__name__} has nothing to train. To learn identities,'
            " use head=dict(type='ArcFaceHead', num_classes=...); without "
            'labels, skip the phase: train_cfg=dict(..., '
            'head=dict(max_epochs=0)).')

    def predict(self,
                feats: Tuple[Tensor, ...],
                data_samples: Optional[List] = None) -> List:
        """Store each image's embedding in its data sample.

        Args:
            feats (tuple[Tensor]): Features of the backbone, the last one
                (N, C).
            data_samples (list[DataSample], optional): The samples to fill.
                Defaults to new ones.

        Returns:
            list[DataSample]: Samples with the field ``embedding`` (C, ).
        """
        embeddings = feats[-1]
        if data_samples is None:
            from mmpretrain.structures import DataSample
            data_samples = [DataSample() for _ in embeddings]
        for sample, embedding in zip(data_samples, embeddings):
            sample.set_field(embedding, 'embedding')
        return data_samples
