# Copyright (c) sskd_mm authors. All rights reserved.
from .adaface_head import AdaFaceHead
from .arcface_head import ArcFaceHead
from .cosface_head import CosFaceHead
from .embedding_head import EmbeddingHead
from .margin_head import CosineLinear, MarginHead
from .norm_softmax_head import NormSoftmaxHead

__all__ = [
    'AdaFaceHead', 'ArcFaceHead', 'CosFaceHead', 'CosineLinear',
    'EmbeddingHead', 'MarginHead', 'NormSoftmaxHead'
]
