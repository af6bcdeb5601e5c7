# FGFI (arXiv 1906.03609), except for the region: here the boxes themselves, in
# the paper anchors near them. Its weight of 0.01 is for half the sum over
# channels, which for 256 channels equals 1.28 for their mean.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=1.28,
            mimic_loss=dict(type='L2MimicLoss', foreground=1))
    ])
