# FitNet as CRD's comparison (arXiv 1910.10699) and later ones have it: the
# hint beside the task. The paper's two stages are in fitnets.py.
_base_ = './joint.py'

model = dict(losses=[dict(type='FitNetLoss', weight=100, stage=1)])
