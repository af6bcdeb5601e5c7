# MobileFaceNet on twenty people of the ORL faces.
_base_ = './iresnet18_orl.py'

model = dict(
    backbone=dict(_delete_=True, type='MobileFaceNet', input_size=32))
