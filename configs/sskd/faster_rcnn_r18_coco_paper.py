# The paper's strict form: each stage is frozen after mimicking, plain L2, head
# from random weights.
_base_ = './faster_rcnn_r18_coco.py'

model = dict(
    stages='auto', mimic_loss=dict(normalize=False), inherit=[])
train_cfg = dict(
    mimic=dict(max_epochs=1),
    phases={'mimic/neck': dict(max_epochs=5)},
    head=dict(
        max_epochs=3, param_scheduler=[_base_.warmup, _base_.cosine]),
    finetune=None)
