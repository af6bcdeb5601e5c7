# YOLOX-l -> YOLOX-tiny on COCO.
_base_ = [
    '../baselines/yolox_tiny_8xb8-300e_coco.py',
    '../_base_/sskd_detection_300e.py',
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='mmdet::yolox/yolox_l_8xb8-300e_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'yolox/yolox_l_8x8_300e_coco/'
        'yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
