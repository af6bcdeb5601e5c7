_base_ = [
    '../../_base_/models/cifar_resnet20.py', '../../_base_/datasets/cifar100.py',
    '../../_base_/schedules/cifar100_240e.py', '../../_base_/runtime_cifar.py'
]
model = dict(
    backbone=dict(depth=32, stem_channels=32, base_channels=64),
    head=dict(in_channels=256))
