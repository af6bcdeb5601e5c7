# AT (arXiv 1612.03928) with the weight of CRD's comparison (arXiv 1910.10699).
_base_ = './joint.py'

model = dict(losses=[dict(type='ATLoss', weight=1000)])
