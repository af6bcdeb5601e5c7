# All taps together, with gradients through the whole backbone.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

train_cfg = dict(
    schedule='joint', phases=dict(_delete_=True), mimic=dict(max_epochs=5))
