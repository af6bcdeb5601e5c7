# MobileFaceNet for faces of 112 x 112, as insightface has it; the large one
# has blocks=(2, 8, 12, 4), scale=4. Without class centres.
data_preprocessor = dict(
    mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileFaceNet'),
    head=dict(type='EmbeddingHead'))
