# The paper's strict form: each stage is fixed once it was mimicked, plain L2,
# the head starts from nothing.
_base_ = './faster_rcnn_r18_coco.py'

model = dict(mimic_loss=dict(normalize=False), inherit=[])
train_cfg = dict(
    schedule='sequential',
    head=dict(
        also_trains=[], optim_wrapper=dict(optimizer=dict(lr=0.02))))
