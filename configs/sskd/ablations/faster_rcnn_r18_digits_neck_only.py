# Only the last tap.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(stages=['neck'])
train_cfg = dict(
    schedule='sequential', phases={'mimic/neck': dict(max_epochs=5)})
