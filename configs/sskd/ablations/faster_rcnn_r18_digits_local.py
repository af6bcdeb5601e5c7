# All stages together, each by its own loss.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

train_cfg = dict(
    schedule='local', phases=dict(_delete_=True), mimic=dict(max_epochs=5))
