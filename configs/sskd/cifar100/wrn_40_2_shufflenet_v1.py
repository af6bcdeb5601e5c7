_base_ = ['../../baselines/cifar100/shufflenet_v1.py', '../../_base_/sskd_cifar.py']

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../../baselines/cifar100/wrn_40_2.py',
        checkpoint='work_dirs/wrn_40_2_cifar100/epoch_240.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
