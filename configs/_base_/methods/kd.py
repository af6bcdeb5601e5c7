# KD (arXiv 1503.02531) with the weights of CRD's comparison (arXiv
# 1910.10699).
_base_ = './joint.py'

model = dict(
    task_weight=0.1, losses=[dict(type='KDLoss', weight=0.9, temperature=4)])
