# PKD (arXiv 2207.02039) at the FPN. The authors' weight is 6 for detectors
# with anchors, 10 for those without.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=6,
            mimic_loss=dict(type='PearsonMimicLoss'))
    ])
