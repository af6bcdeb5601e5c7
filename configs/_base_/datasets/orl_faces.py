# ORL faces (AT&T Laboratories Cambridge): one folder per person, with ten grey
# images of 92 x 112. The lists of training and test people are made by
# python tools/dataset_converters/make_face_lists.py data/orl_faces
data_root = 'data/orl_faces/'
# 32 pixels, for machines without a GPU. The square in the middle shows about
# as much of a face as an aligned image.
face = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=32),
    dict(type='CenterCrop', crop_size=32)
]
train_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        ann_file='train.txt',
        pipeline=[
            *face,
            # Only 200 images: without it TAR drops by twenty points.
            dict(
                type='RandomResizedCrop',
                scale=32,
                crop_ratio_range=(0.6, 1.),
                aspect_ratio_range=(0.85, 1.18)),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs')
        ]))
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        ann_file='unseen.txt',
        pipeline=[*face, dict(type='PackInputs')],
        test_mode=True))
test_dataloader = val_dataloader

# Verification: all pairs of the unseen people's images, 450 genuine and 4,500
# impostor. Identification: each image searched among the first of each person.
val_evaluator = [
    dict(type='FaceVerification'),
    dict(type='FaceIdentification')
]
test_evaluator = val_evaluator
