# The base of the ablations: every stage mimicked in turn, then the head alone,
# with the compute of 7 epochs from scratch.
_base_ = '../faster_rcnn_r18_digits.py'

model = dict(stages='auto')
train_cfg = dict(
    schedule='cumulative',
    mimic=dict(max_epochs=1),
    phases={'mimic/neck': dict(max_epochs=4)},
    head=dict(
        max_epochs=5, optim_wrapper=dict(optimizer=dict(lr=0.002))),
    finetune=None)
