# Each stage is frozen after mimicking.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

train_cfg = dict(schedule='sequential')
