# The small sibling of faster_rcnn_r18_coco.py for BCCD.
_base_ = ['../baselines/faster-rcnn_r18_fpn_bccd.py', '../_base_/sskd_bccd.py']

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/faster-rcnn_r50_fpn_bccd.py',
        checkpoint='work_dirs/faster-rcnn_r50_fpn_bccd/epoch_36.pth'),
    inherit=['neck', 'rpn_head', 'roi_head'],
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
