_base_ = [
    '../../baselines/cifar100/resnet8x4_cifar100.py',
    '../../_base_/sskd_cifar_far_siblings.py',
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../../baselines/cifar100/resnet32x4_cifar100.py',
        checkpoint='work_dirs/resnet32x4_cifar100/epoch_240.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
