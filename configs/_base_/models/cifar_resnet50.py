# mmpretrain's ResNet-50 for CIFAR, initialised as in the distillation
# literature: its blocks do not begin as identities.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=50, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=2048))
