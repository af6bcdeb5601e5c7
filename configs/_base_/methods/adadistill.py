# AdaDistill (arXiv 2407.01332) with ArcFace's margin and no other loss. Needs
# embeddings of the same size.
_base_ = './joint.py'

model = dict(
    task_weight=0, losses=[dict(type='AdaDistillLoss')])
