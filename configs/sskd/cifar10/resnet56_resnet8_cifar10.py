_base_ = [
    '../../baselines/cifar10/resnet8_cifar10.py',
    '../../_base_/sskd_cifar_far_siblings.py',
]

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='{{fileDirname}}/../../baselines/cifar10/resnet56_cifar10.py',
        checkpoint='work_dirs/resnet56_cifar10/epoch_200.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
# 200 epochs in total, as in mmpretrain for CIFAR-10.
train_cfg['mimic'].update(max_epochs=90)
train_cfg['phases']['mimic/last'].update(max_epochs=90)
