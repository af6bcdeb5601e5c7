# DINO R50 -> R18 on COCO; the transformer starts from the teacher's.
_base_ = [
    '../baselines/dino-4scale_r18_8xb2-12e_coco.py',
    '../_base_/sskd_detection.py',
]

student = _base_.model
# Every stage mimics the teacher, so none may be frozen.
student.backbone.update(
    frozen_stages=-1, norm_eval=False, norm_cfg=dict(type='BN'))
model = dict(
    _delete_=True,
    student=student,
    teacher=dict(
        cfg='mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/'
        'dino/dino-4scale_r50_8xb2-12e_coco/'
        'dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth'),
    inherit=[
        'neck', 'level_embed', 'encoder', 'memory_trans_fc',
        'memory_trans_norm', 'query_embedding', 'dn_query_generator',
        'decoder', 'bbox_head'
    ],
    **_base_.sskd.model)
del student

recipe = _base_.sskd.train_cfg
# Overrides DINO's tenfold lower learning rate of the backbone.
recipe.mimic.optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))))
train_cfg = dict(_delete_=True, **recipe)
del recipe
