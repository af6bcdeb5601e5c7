# FGFI (arXiv 1906.03609), but for the region: here it is what boxes cover, in
# the paper where anchors are near them. Its 0.01 is for half a sum over
# channels: of 256 as much as 1.28 for their mean.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=1.28,
            mimic_loss=dict(type='L2MimicLoss', foreground=1))
    ])
