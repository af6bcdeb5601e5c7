# Copyright (c) sskd_mm authors. All rights reserved.
from .adadistill_loss import AdaDistillLoss
from .adapted_loss import AdaptedLoss
from .at_loss import ATLoss
from .cckd_loss import CCKDLoss
from .crd_loss import CRDLoss
from .cross_kd_loss import CrossKDLoss
from .dist_loss import DISTLoss
from .dkd_loss import DKDLoss
from .embedding_loss import EmbeddingLoss
from .feature_loss import FeatureLoss
from .fgd_loss import FGDLoss
from .fitnet_loss import FitNetLoss
from .fsp_loss import FSPLoss
from .joint_loss import JointLoss
from .kd_loss import KDLoss
from .knowledge import Knowledge
from .ld_loss import LDLoss
from .mgd_loss import MGDLoss
from .nst_loss import NSTLoss
from .review_kd_loss import ReviewKDLoss
from .rkd_loss import RKDLoss
from .tapwise_loss import TapwiseLoss

__all__ = [
    'ATLoss', 'AdaDistillLoss', 'AdaptedLoss', 'CCKDLoss', 'CRDLoss',
    'CrossKDLoss', 'DISTLoss', 'DKDLoss', 'EmbeddingLoss', 'FGDLoss',
    'FSPLoss', 'FeatureLoss', 'FitNetLoss', 'JointLoss', 'KDLoss',
    'Knowledge', 'LDLoss', 'MGDLoss', 'NSTLoss', 'RKDLoss', 'ReviewKDLoss',
    'TapwiseLoss'
]
