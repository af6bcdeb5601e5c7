# The small sibling of faster_rcnn_r18_coco.py for the embedded data set.
_base_ = '../baselines/faster_rcnn_r18_digits.py'

model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster_rcnn_r50_digits.py',
        checkpoint='work_dirs/faster_rcnn_r50_digits/epoch_8.pth'),
    stages='auto',
    mimic_loss=dict(type='L2MimicLoss', normalize=True),
    inherit=['neck', 'rpn_head', 'roi_head'])

# As much computing in all as the 8 epochs from scratch.
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    schedule='cumulative',
    mimic=dict(max_epochs=1),
    phases={'mimic/neck': dict(max_epochs=7)},
    # An inherited head is nearly there; the neck goes on with it.
    head=dict(
        max_epochs=4,
        also_trains=['neck'],
        optim_wrapper=dict(optimizer=dict(lr=0.002))))
