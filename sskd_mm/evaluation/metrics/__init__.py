# Copyright (c) sskd_mm authors. All rights reserved.
from .coco_detections import CocoDetections
from .face_identification import FaceIdentification
from .face_verification import FaceVerification
from .image_scores import ImageScores

__all__ = [
    'CocoDetections', 'FaceIdentification', 'FaceVerification', 'ImageScores'
]
