_base_ = [
    '../../baselines/face/mobilefacenet_orl.py', '../../_base_/sskd_face.py'
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../../baselines/face/iresnet18_orl.py',
        checkpoint='work_dirs/iresnet18_orl/epoch_30.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
train_cfg['mimic'].update(max_epochs=14, cached_passes=4)
