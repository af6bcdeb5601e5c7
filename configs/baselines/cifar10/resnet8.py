_base_ = [
    '../../_base_/models/cifar_resnet20.py', '../../_base_/datasets/cifar10.py',
    '../../_base_/schedules/cifar10_200e.py', '../../_base_/runtime_cifar.py'
]
# As the public weights of CIFAR-10 have it.
model = dict(
    backbone=dict(shortcut='A', depth=8), head=dict(num_classes=10))
