# Copyright (c) sskd_mm authors. All rights reserved.
from .at_loss import ATLoss
from .fitnet_loss import FitNetLoss
from .fsp_loss import FSPLoss
from .joint_loss import JointLoss
from .kd_loss import KDLoss
from .knowledge import Knowledge
from .nst_loss import NSTLoss
from .tapwise_loss import TapwiseLoss

__all__ = [
    'ATLoss', 'FSPLoss', 'FitNetLoss', 'JointLoss', 'KDLoss', 'Knowledge',
    'NSTLoss', 'TapwiseLoss'
]
