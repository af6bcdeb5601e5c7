# Copyright (c) sskd_mm authors. All rights reserved.
from .build_adapter import build_adapter
from .conv_adapter import ConvAdapter

__all__ = ['ConvAdapter', 'build_adapter']
