# IResNet-50 for 112 x 112 faces, without class centres, as published by
# insightface. For other depths set depth=...
data_preprocessor = dict(
    mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='IResNet', depth=50),
    head=dict(type='EmbeddingHead'))
