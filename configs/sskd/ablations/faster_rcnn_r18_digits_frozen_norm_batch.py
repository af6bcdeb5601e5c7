# Frozen batch norms normalise by the batch.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(frozen_norm='batch')
