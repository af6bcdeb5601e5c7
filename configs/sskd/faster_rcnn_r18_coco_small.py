# faster_rcnn_r18_coco.py for a machine without a GPU.
_base_ = '../baselines/faster_rcnn_r18_coco_small.py'

model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster_rcnn_r50_coco_small.py',
        checkpoint='work_dirs/faster_rcnn_r50_coco_small/epoch_8.pth'),
    stages='auto',
    mimic_loss=dict(type='L2MimicLoss', normalize=True),
    inherit=['neck', 'rpn_head', 'roi_head'])

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
