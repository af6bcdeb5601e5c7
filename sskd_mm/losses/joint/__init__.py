# Copyright (c) sskd_mm authors. All rights reserved.
from .joint_loss import JointLoss
from .knowledge import Knowledge

__all__ = ['JointLoss', 'Knowledge']
