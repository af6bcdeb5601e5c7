# ReviewKD (arXiv 2104.09044). The weight depends on the pair: the authors use
# 0.6 for ResNet-56 to -20, 1 for ResNet-110 to -32, 5 for ResNet-32x4 to -8x4.
_base_ = './joint.py'

model = dict(losses=[dict(type='ReviewKDLoss', weight=1)])
