# The GFL teacher for BCCD, blood cells in 205 training images.
_base_ = [
    '../_base_/models/gfl_r50_small.py',
    '../_base_/datasets/bccd_detection.py',
    '../_base_/schedules/schedule_small.py'
]

max_epochs = 36
train_cfg = dict(max_epochs=max_epochs)
