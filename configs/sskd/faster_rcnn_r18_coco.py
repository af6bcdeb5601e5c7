# Faster R-CNN R50-FPN -> R18-FPN on COCO, 12 epochs in all as schedule_1x.
_base_ = '../baselines/faster_rcnn_r18_coco.py'

student = _base_.model
# Every stage mimics the teacher, so the config must freeze none.
student.backbone.update(frozen_stages=-1, norm_eval=False)
model = dict(
    _delete_=True,
    type='StageByStageDistiller',
    student=student,
    teacher=dict(
        cfg='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
        'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth'),
    stages='auto')
del student

train_cfg = dict(
    _delete_=True,
    type='StageByStageTrainLoop',
    mimic=dict(max_epochs=1),
    head=dict(max_epochs=7))
