# The small sibling of faster_rcnn_r18_coco.py for BCCD.
_base_ = '../baselines/faster_rcnn_r18_bccd.py'

model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster_rcnn_r50_bccd.py',
        checkpoint='work_dirs/faster_rcnn_r50_bccd/epoch_24.pth'),
    stages='auto')
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    mimic=dict(max_epochs=1),
    head=dict(max_epochs=7))
