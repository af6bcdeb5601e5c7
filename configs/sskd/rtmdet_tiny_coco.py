# RTMDet-l -> RTMDet-tiny on COCO.
_base_ = [
    '../baselines/rtmdet_tiny_8xb32-300e_coco.py',
    '../_base_/sskd_detection_300e.py',
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/'
        'rtmdet/rtmdet_l_8xb32-300e_coco/'
        'rtmdet_l_8xb32-300e_coco_20220719_112030-5a0be7c4.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
