# The quickstart's student by itself, trained from scratch: half as wide as
# the teacher.
_base_ = './faster-rcnn_r18-half_fpn_digits.py'

model = dict(
    backbone=dict(base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]))

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
