# CCKD (arXiv 1904.01802): correlations of a batch, beside each sample's own
# embedding. The weights are values to start from.
_base_ = './joint.py'

model = dict(
    losses=[
        dict(
            type='EmbeddingLoss',
            weight=10,
            mimic_loss=dict(type='CosineMimicLoss')),
        dict(type='CCKDLoss', weight=10)
    ])
