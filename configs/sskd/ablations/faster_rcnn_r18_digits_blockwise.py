# All stages together, each fed the teacher's feature.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

train_cfg = dict(
    schedule='blockwise',
    phases=dict(_delete_=True),
    mimic=dict(max_epochs=5))
