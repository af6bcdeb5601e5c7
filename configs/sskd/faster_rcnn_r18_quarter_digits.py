# The quickstart's distillation: the recipe for small sets on the embedded
# one.
_base_ = '../baselines/faster-rcnn_r18-quarter_fpn_digits.py'

model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster-rcnn_r18-half_fpn_digits.py',
        checkpoint='work_dirs/faster-rcnn_r18-half_fpn_digits/epoch_8.pth'),
    stages=['neck'],
    mimic_loss=dict(type='L2MimicLoss', normalize=True),
    inherit=['neck', 'rpn_head', 'roi_head'])

# At most the FLOPs of 5 epochs from scratch, the teacher's included.
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    # Images are not augmented, so the teacher runs once over them.
    mimic=dict(
        max_epochs=2,
        cached_passes=1,
        optim_wrapper=dict(optimizer=dict(lr=0.01))),
    # An inherited head is nearly there.
    head=dict(
        max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.001))),
    val_interval=2,
    finetune=dict(
        max_epochs=2, optim_wrapper=dict(optimizer=dict(lr=0.002))))
