_base_ = [
    '../../_base_/models/cifar_resnet50.py', '../../_base_/datasets/cifar100.py',
    '../../_base_/schedules/cifar100_240e.py', '../../_base_/runtime_cifar.py'
]
