# ResNet-20 for CIFAR. For other depths set depth=..., for ResNet-8x4 and -32x4
# also stem_channels=32, base_channels=64, in_channels=256.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CIFARResNet', depth=20),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=64))
