# Copyright (c) sskd_mm authors. All rights reserved.
from .all_pairs import all_pairs
from .bootstrap import bootstrap_mean, draw_images, percentile_interval
from .bootstrap_coco import bootstrap_coco
from .collect_pairs import collect_pairs
from .embedding_store import EmbeddingStore
from .extract_embeddings import extract_embeddings
from .face_pipeline import face_pipeline
from .identification import Identification
from .identify import identify
from .ijb import IJB
from .ijba import IJBA
from .metrics import (CocoDetections, FaceIdentification, FaceVerification,
                      ImageScores)
from .normalize_embeddings import normalize_embeddings
from .pair_distances import pair_distances
from .pool_templates import pool_templates
from .roc_curve import RocCurve
from .search_gallery import search_gallery
from .search_result import SearchResult
from .ten_fold_accuracy import FoldAccuracy, ten_fold_accuracy
from .verification import Verification

__all__ = [
    'CocoDetections', 'EmbeddingStore', 'FaceIdentification',
    'FaceVerification', 'FoldAccuracy', 'IJB', 'IJBA', 'Identification',
    'ImageScores', 'RocCurve', 'SearchResult', 'Verification', 'all_pairs',
    'bootstrap_coco', 'bootstrap_mean', 'collect_pairs', 'draw_images',
    'extract_embeddings', 'face_pipeline', 'identify', 'normalize_embeddings',
    'pair_distances', 'percentile_interval', 'pool_templates',
    'search_gallery', 'ten_fold_accuracy'
]
