# Cascade R-CNN R50-FPN -> R18-FPN on COCO.
_base_ = [
    '../baselines/cascade-rcnn_r18_fpn_1x_coco.py',
    '../_base_/sskd_detection.py',
]

student = _base_.model
# Every stage mimics the teacher, so none may be frozen.
student.backbone.update(frozen_stages=-1, norm_eval=False)
model = dict(
    _delete_=True,
    student=student,
    teacher=dict(
        cfg='mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'cascade_rcnn/cascade_rcnn_r50_fpn_1x_coco/'
        'cascade_rcnn_r50_fpn_1x_coco_20200316-3dc56deb.pth'),
    inherit=['neck', 'rpn_head', 'roi_head'],
    **_base_.sskd.model)
del student
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
