# The paper's strict form: each stage is frozen after mimicking, plain L2, head
# from random weights. Uses more compute than faster_rcnn_r18_bccd.py, since
# each stage gets only a share of it.
_base_ = './faster_rcnn_r18_bccd.py'

model = dict(
    stages='auto', mimic_loss=dict(normalize=False), inherit=[])
train_cfg = dict(
    mimic=dict(
        max_epochs=4, optim_wrapper=dict(optimizer=dict(lr=0.003))),
    phases={'mimic/neck': dict(max_epochs=5)},
    head=dict(
        max_epochs=5, optim_wrapper=dict(optimizer=dict(lr=0.003))),
    finetune=None)
