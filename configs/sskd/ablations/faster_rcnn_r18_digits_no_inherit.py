# Neck and heads start from random weights.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(inherit=[])
