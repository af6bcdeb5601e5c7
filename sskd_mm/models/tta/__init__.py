# Copyright (c) sskd_mm authors. All rights reserved.
from .mirrored_embedding_tta import MirroredEmbeddingTTA

__all__ = ['MirroredEmbeddingTTA']
