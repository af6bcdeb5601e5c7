# IResNet-18 with ArcFace on MS1MV3.
_base_ = './iresnet50_ms1mv3.py'

model = dict(backbone=dict(depth=18))
