# Copyright (c) sskd_mm authors. All rights reserved.
from .attention_mimic_loss import AttentionMimicLoss
from .channel_wise_mimic_loss import ChannelWiseMimicLoss
from .contrastive_mimic_loss import ContrastiveMimicLoss
from .cosine_mimic_loss import CosineMimicLoss
from .fsp_mimic_loss import FSPMimicLoss
from .l2_mimic_loss import L2MimicLoss
from .mimic_loss import MimicLoss
from .normalized_l2_mimic_loss import NormalizedL2MimicLoss
from .nst_mimic_loss import NSTMimicLoss
from .pearson_mimic_loss import PearsonMimicLoss
from .positionwise_mimic_loss import PositionwiseMimicLoss
from .smooth_l1_mimic_loss import SmoothL1MimicLoss

__all__ = [
    'AttentionMimicLoss', 'ChannelWiseMimicLoss', 'ContrastiveMimicLoss',
    'CosineMimicLoss', 'FSPMimicLoss', 'L2MimicLoss', 'MimicLoss',
    'NSTMimicLoss', 'NormalizedL2MimicLoss', 'PearsonMimicLoss',
    'PositionwiseMimicLoss', 'SmoothL1MimicLoss'
]
