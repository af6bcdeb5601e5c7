# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS


@MODELS.register_module('CropFlipDataPreprocessor')
def build_crop_flip(**cfg) -> BaseDataPreprocessor:
    """Import on first use: the base class is mmpretrain's, which takes
    seconds to import and which detection projects may not have."""
    from .crop_flip_data_preprocessor import CropFlipDataPreprocessor
    return CropFlipDataPreprocessor(**cfg)
