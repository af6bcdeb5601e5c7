# The GFL student for BCCD by itself, trained from scratch.
_base_ = './gfl_r50_fpn_bccd.py'

model = dict(
    backbone=dict(depth=18, base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]))
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
