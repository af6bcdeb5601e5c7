# FitNet at the embedding, as distillation for face recognition mostly has it:
# the cosine beside the task. The weight is a value to start from.
_base_ = './joint.py'

model = dict(
    losses=[
        dict(
            type='EmbeddingLoss',
            weight=10,
            mimic_loss=dict(type='CosineMimicLoss'))
    ])
