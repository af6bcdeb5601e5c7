# DKD (arXiv 2203.08679). beta depends on the pair: the authors use 8 for
# ResNet-32x4 to ResNet-8x4.
_base_ = './joint.py'

model = dict(losses=[dict(type='DKDLoss', weight=1, alpha=1, beta=8)])
