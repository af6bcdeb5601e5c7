# IResNet-50 for faces of 112 x 112, of which the other depths are made by
# depth=...; without class centres, as insightface publishes it.
data_preprocessor = dict(
    mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='IResNet', depth=50),
    head=dict(type='EmbeddingHead'))
