# The small sibling of faster_rcnn_r18_coco.py for the embedded data set.
_base_ = '../baselines/faster-rcnn_r18_fpn_digits.py'

model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster-rcnn_r50_fpn_digits.py',
        checkpoint='work_dirs/faster-rcnn_r50_fpn_digits/epoch_7.pth'),
    stages=['neck'],
    mimic_loss=dict(type='L2MimicLoss', normalize=True),
    inherit=['neck', 'rpn_head', 'roi_head'])

# The total compute equals that of 7 epochs from scratch.
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    # Mimicking tolerates a higher learning rate than training.
    mimic=dict(
        max_epochs=4, optim_wrapper=dict(optimizer=dict(lr=0.01))),
    # An inherited head needs little training.
    head=dict(
        max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.001))),
    val_interval=4,
    finetune=dict(
        max_epochs=4, optim_wrapper=dict(optimizer=dict(lr=0.002))))
