# RetinaNet R50-FPN -> R18-FPN on COCO.
_base_ = [
    '../baselines/retinanet_r18_fpn_1x_coco.py',
    '../_base_/sskd_detection.py',
]

student = _base_.model
# Every stage mimics the teacher, so none may be frozen.
student.backbone.update(frozen_stages=-1, norm_eval=False)
model = dict(
    _delete_=True,
    student=student,
    teacher=dict(
        cfg='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'retinanet/retinanet_r50_fpn_1x_coco/'
        'retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth'),
    inherit=['neck', 'bbox_head'],
    **_base_.sskd.model)
del student
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
