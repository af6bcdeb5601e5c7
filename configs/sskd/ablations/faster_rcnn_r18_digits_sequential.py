# Each stage is fixed once it was mimicked.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

train_cfg = dict(schedule='sequential')
