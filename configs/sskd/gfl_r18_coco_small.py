# gfl_r18_coco.py for a machine without a GPU.
_base_ = ['../baselines/gfl_r18_coco_small.py', '../_base_/sskd_bccd.py']

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../baselines/gfl_r50_coco_small.py',
        checkpoint='work_dirs/gfl_r50_coco_small/epoch_7.pth'),
    inherit=['neck', 'bbox_head'],
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
