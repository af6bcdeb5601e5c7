# CWD (arXiv 2011.13256) at the FPN, with the weight and temperature of
# MMRazor's configs.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=10,
            mimic_loss=dict(type='ChannelWiseMimicLoss', tau=1))
    ])
