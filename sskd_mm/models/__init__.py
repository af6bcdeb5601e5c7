# Copyright (c) sskd_mm authors. All rights reserved.
from . import data_preprocessors
from .backbones import (CIFARVGG, CIFARMobileNetV2, CIFARResNet,
                        CIFARShuffleNetV1, CIFARShuffleNetV2, WideResNet)
from .convert_checkpoint import convert_checkpoint

__all__ = [
    'CIFARMobileNetV2', 'CIFARResNet', 'CIFARShuffleNetV1',
    'CIFARShuffleNetV2', 'CIFARVGG', 'WideResNet', 'convert_checkpoint',
    'data_preprocessors'
]
