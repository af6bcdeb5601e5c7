# ShuffleNet for CIFAR.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CIFARShuffleNetV1'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=960))
