_base_ = [
    '../../_base_/models/cifar_mobilenet_v2.py', '../../_base_/datasets/cifar100.py',
    '../../_base_/schedules/cifar100_240e.py', '../../_base_/runtime_cifar.py'
]
# CRD's comparison trains networks of depthwise convolutions at a fifth.
optim_wrapper = dict(optimizer=dict(lr=0.01))
