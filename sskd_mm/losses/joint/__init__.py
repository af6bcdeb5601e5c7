# Copyright (c) sskd_mm authors. All rights reserved.
from .crd_loss import CRDLoss
from .dist_loss import DISTLoss
from .dkd_loss import DKDLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge
from .review_kd_loss import ReviewKDLoss
from .rkd_loss import RKDLoss

__all__ = [
    'CRDLoss', 'DISTLoss', 'DKDLoss', 'JointLoss', 'Knowledge', 'ReviewKDLoss',
    'RKDLoss'
]
