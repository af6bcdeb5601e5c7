# FCOS R50-FPN -> R18-FPN on COCO. Each normalises images in its own way.
_base_ = [
    '../baselines/fcos_r18_fpn_1x_coco.py',
    '../_base_/sskd_detection.py',
]

student = _base_.model
# Every stage mimics the teacher, so none may be frozen.
student.backbone.update(frozen_stages=-1, norm_eval=False)
model = dict(
    _delete_=True,
    student=student,
    teacher=dict(
        cfg='mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-'
        'centeronreg-giou_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/fcos/'
        'fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco/'
        'fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco-'
        '0a0d75a8.pth'),
    inherit=['neck', 'bbox_head'],
    **_base_.sskd.model)
del student
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
