# PKD (arXiv 2207.02039) at the FPN. The authors' weight is 6 for anchor-based
# and 10 for anchor-free detectors.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FeatureLoss',
            weight=6,
            mimic_loss=dict(type='PearsonMimicLoss'))
    ])
