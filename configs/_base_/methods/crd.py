# CRD (arXiv 1910.10699).
_base_ = './joint.py'

model = dict(losses=[dict(type='CRDLoss', weight=0.8)])
