# The usual imitation of a detector's FPN: what the shipped recipes mimic, but
# beside the task and with a weight, which is a value to start from.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=1,
            mimic_loss=dict(type='L2MimicLoss', normalize=True))
    ])
