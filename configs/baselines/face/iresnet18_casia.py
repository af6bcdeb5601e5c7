# IResNet-18 with ArcFace on CASIA-WebFace.
_base_ = './iresnet50_casia.py'

model = dict(backbone=dict(depth=18))
