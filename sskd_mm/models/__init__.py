# Copyright (c) sskd_mm authors. All rights reserved.
from . import data_preprocessors
from .backbones import (CIFARVGG, CIFARMobileNetV2, CIFARResNet,
                        CIFARShuffleNetV1, CIFARShuffleNetV2, IResNet,
                        MobileFaceNet, WideResNet)
from .build_model import build_model, model_config
from .convert_checkpoint import convert_checkpoint
from .heads import (AdaFaceHead, ArcFaceHead, CosFaceHead, EmbeddingHead,
                    MarginHead, NormSoftmaxHead)
from .student_config import sskd_mm_types, student_config
from .tta import MirroredEmbeddingTTA

__all__ = [
    'AdaFaceHead', 'ArcFaceHead', 'CIFARMobileNetV2', 'CIFARResNet',
    'CIFARShuffleNetV1', 'CIFARShuffleNetV2', 'CIFARVGG', 'CosFaceHead',
    'EmbeddingHead', 'IResNet', 'MarginHead', 'MirroredEmbeddingTTA',
    'MobileFaceNet', 'NormSoftmaxHead', 'WideResNet', 'build_model',
    'convert_checkpoint', 'data_preprocessors', 'model_config',
    'sskd_mm_types', 'student_config'
]
