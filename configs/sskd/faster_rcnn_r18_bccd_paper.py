# The paper's strict form: each stage is fixed once it was mimicked, plain L2,
# the head starts from nothing. More computing than faster_rcnn_r18_bccd.py,
# since a stage gets but a share of it.
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
