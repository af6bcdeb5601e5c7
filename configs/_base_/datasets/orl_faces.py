# ORL faces (AT&T Laboratories Cambridge): a folder a person, ten grey images
# of 92 x 112 each. The lists of who is trained on and who is not come from
# python tools/dataset_converters/make_face_lists.py data/orl_faces
data_root = 'data/orl_faces/'
# 32 pixels, for a machine without a GPU. The square in the middle is about as
# much of a face as an aligned image shows.
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
            # 200 images are few: without it twenty points of TAR are lost.
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

# All pairs of the unseen people's images, 450 genuine and 4,500 impostors; and
# each image but a person's first searched for among these.
val_evaluator = [
    dict(type='FaceVerification'),
    dict(type='FaceIdentification')
]
test_evaluator = val_evaluator
