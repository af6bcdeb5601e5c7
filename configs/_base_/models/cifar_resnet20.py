# ResNet-20 for CIFAR, of which the other depths are made by depth=... and
# ResNet-8x4 and -32x4 by stem_channels=32, base_channels=64, in_channels=256.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CIFARResNet', depth=20),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=64))
