# The small sibling of faster_rcnn_r18_coco.py for BCCD.
_base_ = '../baselines/faster_rcnn_r18_bccd.py'

# One mimic phase, against the neck: an epoch has 52 iterations here, so that
# a phase for each stage would be all warm-up.
model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster_rcnn_r50_bccd.py',
        checkpoint='work_dirs/faster_rcnn_r50_bccd/epoch_36.pth'),
    stages=['neck'],
    mimic_loss=dict(type='L2MimicLoss', normalize=True),
    inherit=['neck', 'rpn_head', 'roi_head'])

# As much computing in all as the 12 epochs from scratch.
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    # Mimicking bears a higher learning rate than training does.
    mimic=dict(
        max_epochs=5, optim_wrapper=dict(optimizer=dict(lr=0.01))),
    # An inherited head is nearly there.
    head=dict(
        max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.001))),
    finetune=dict(
        max_epochs=6, optim_wrapper=dict(optimizer=dict(lr=0.002))))
