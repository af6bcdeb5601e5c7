# insightface's MobileFaceNet for 112 x 112 faces, without class centres. Its
# large version has blocks=(2, 8, 12, 4), scale=4.
data_preprocessor = dict(
    mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileFaceNet'),
    head=dict(type='EmbeddingHead'))
