# FitNet as in CRD's comparison (arXiv 1910.10699) and later ones: the hint
# added to the task loss. For the paper's two stages see fitnets.py.
_base_ = './joint.py'

model = dict(losses=[dict(type='FitNetLoss', weight=100, stage=1)])
