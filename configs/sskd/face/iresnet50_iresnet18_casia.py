_base_ = [
    '../../baselines/face/iresnet18_casia.py', '../../_base_/sskd_face.py'
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../../baselines/face/iresnet50_casia.py',
        checkpoint='work_dirs/iresnet50_casia/epoch_20.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
