# Copyright (c) sskd_mm authors. All rights reserved.
from .face_identification import FaceIdentification
from .face_verification import FaceVerification

__all__ = ['FaceIdentification', 'FaceVerification']
