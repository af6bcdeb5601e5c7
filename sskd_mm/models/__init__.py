# Copyright (c) sskd_mm authors. All rights reserved.
from . import data_preprocessors

__all__ = ['data_preprocessors']
