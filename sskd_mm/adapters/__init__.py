# Copyright (c) sskd_mm authors. All rights reserved.
from .conv_adapter import ConvAdapter

__all__ = ['ConvAdapter']
