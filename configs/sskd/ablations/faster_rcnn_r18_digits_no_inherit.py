# Neck and heads start from nothing.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(inherit=[])
