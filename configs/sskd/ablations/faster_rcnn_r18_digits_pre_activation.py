# Taps before the last ReLU of a stage.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(pre_activation=True)
