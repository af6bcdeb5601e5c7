_base_ = [
    '../../baselines/cifar100/wrn_16_2_cifar100.py',
    '../../_base_/sskd_cifar_siblings.py',
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../../baselines/cifar100/wrn_40_2_cifar100.py',
        checkpoint='work_dirs/wrn_40_2_cifar100/epoch_240.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
