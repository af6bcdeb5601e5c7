# The whole student trains instead of most of the head phase.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

train_cfg = dict(
    head=dict(max_epochs=1),
    finetune=dict(
        _delete_=True,
        max_epochs=4, optim_wrapper=dict(optimizer=dict(lr=0.002))))
