# The student for the embedded data set by itself, trained from scratch.
_base_ = './faster-rcnn_r50_fpn_digits.py'

model = dict(
    backbone=dict(depth=18, base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]))
