# FitNet at the embedding, the usual form in face recognition: the cosine added
# to the task loss. The weight is a starting point.
_base_ = './joint.py'

model = dict(
    losses=[
        dict(
            type='EmbeddingLoss',
            weight=10,
            mimic_loss=dict(type='CosineMimicLoss'))
    ])
