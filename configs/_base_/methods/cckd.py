# CCKD (arXiv 1904.01802): correlations within a batch, plus each sample's own
# embedding. The weights are starting points.
_base_ = './joint.py'

model = dict(
    losses=[
        dict(
            type='EmbeddingLoss',
            weight=10,
            mimic_loss=dict(type='CosineMimicLoss')),
        dict(type='CCKDLoss', weight=10)
    ])
