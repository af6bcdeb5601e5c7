# Copyright (c) sskd_mm authors. All rights reserved.
from .l2_mimic_loss import L2MimicLoss

__all__ = ['L2MimicLoss']
