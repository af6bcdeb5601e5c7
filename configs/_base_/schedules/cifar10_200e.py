# The protocol of ResNet's authors for CIFAR (arXiv 1512.03385) as in
# mmpretrain, for batches of 128.
_base_ = 'mmpretrain::_base_/schedules/cifar10_bs128.py'
max_epochs = 200
