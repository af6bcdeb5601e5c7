# The small sibling of faster_rcnn_r18_coco.py for the embedded data set.
_base_ = '../baselines/faster_rcnn_r18_digits.py'

model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster_rcnn_r50_digits.py',
        checkpoint='work_dirs/faster_rcnn_r50_digits/epoch_12.pth'),
    stages='auto')
train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    mimic=dict(max_epochs=1),
    head=dict(max_epochs=2))
