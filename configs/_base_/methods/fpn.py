# Common FPN imitation: the features that the shipped recipes mimic, but
# together with the task loss and with a weight, which is a starting point.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=1,
            mimic_loss=dict(type='L2MimicLoss', normalize=True))
    ])
