# Copyright (c) sskd_mm authors. All rights reserved.
from .align_face import AlignFace, similarity_transform

__all__ = ['AlignFace', 'similarity_transform']
