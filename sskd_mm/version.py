# Copyright (c) sskd_mm authors. All rights reserved.
__version__ = '0.2.0'
