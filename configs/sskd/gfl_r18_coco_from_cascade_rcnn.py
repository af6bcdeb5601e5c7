# Cascade R-CNN R101-FPN -> GFL R18-FPN on COCO. The teacher has levels
# P2 to P6, the student P3 to P7; P3 to P6 are compared.
_base_ = [
    '../baselines/gfl_r18_fpn_1x_coco.py',
    '../_base_/sskd_detection.py',
]

student = _base_.model
# Every stage mimics the teacher, so none may be frozen.
student.backbone.update(frozen_stages=-1, norm_eval=False)
model = dict(
    _delete_=True,
    student=student,
    teacher=dict(
        cfg='mmdet::cascade_rcnn/cascade-rcnn_r101_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'cascade_rcnn/cascade_rcnn_r101_fpn_1x_coco/'
        'cascade_rcnn_r101_fpn_1x_coco_20200317-0b6a2fbf.pth'),
    **_base_.sskd.model)
del student

recipe = _base_.sskd.train_cfg
# A head of another family cannot be inherited.
recipe.head.param_scheduler = [_base_.warmup, _base_.cosine]
train_cfg = dict(_delete_=True, **recipe)
del recipe
