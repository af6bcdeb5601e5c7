_base_ = [
    '../../_base_/models/cifar_wrn_16_2.py', '../../_base_/datasets/cifar100.py',
    '../../_base_/schedules/cifar100_240e.py', '../../_base_/runtime_cifar.py'
]
model = dict(
    backbone=dict(depth=40, widen_factor=1),
    head=dict(in_channels=64))
