# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, List, Optional, Tuple

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class EmbeddingHead(BaseModule):
    """Hands on the embedding that a backbone outputs, and has no weights.

    It makes a classifier of mmpretrain a network that embeds: for weights
    that come without class centres, and for a student that learns on images
    without labels.

    Example:
        >>> model = dict(
        >>>     type='ImageClassifier',
        >>>     backbone=dict(type='IResNet', depth=50),
        >>>     head=dict(type='EmbeddingHead'))
    """

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """The last feature.

        Args:
            feats (tuple[Tensor]): The backbone's, the last one (N, C).

        Returns:
            Tensor: The embeddings (N, C).
        """
        return feats[-1]

    def loss(self, feats: Tuple[Tensor, ...],
             data_samples: list) -> Dict[str, Tensor]:
        """It has none.

        Raises:
            RuntimeError: Always; says what to write instead.
        """
        raise RuntimeError(
            f'{type(self).__name__} has nothing to train. To learn identities '
            "give the model a head=dict(type='ArcFaceHead', num_classes=...); "
            'without labels leave the phase out: train_cfg=dict(..., '
            'head=dict(max_epochs=0)).')

    def predict(self,
                feats: Tuple[Tensor, ...],
                data_samples: Optional[List] = None) -> List:
        """Note each image's embedding.

        Args:
            feats (tuple[Tensor]): The backbone's, the last one (N, C).
            data_samples (list[DataSample], optional): Where to. Defaults to
                new ones.

        Returns:
            list[DataSample]: With the field ``embedding`` (C, ).
        """
        embeddings = feats[-1]
        if data_samples is None:
            from mmpretrain.structures import DataSample
            data_samples = [DataSample() for _ in embeddings]
        for sample, embedding in zip(data_samples, embeddings):
            sample.set_field(embedding, 'embedding')
        return data_samples
