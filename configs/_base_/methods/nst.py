# NST (arXiv 1707.01219) with the weight of CRD's comparison (arXiv
# 1910.10699).
_base_ = './joint.py'

model = dict(losses=[dict(type='NSTLoss', weight=50)])
