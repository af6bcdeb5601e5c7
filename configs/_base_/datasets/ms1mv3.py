# MS1MV3 of insightface (ms1m-retinaface-t1: 93,431 identities, 5,179,510
# faces) in data/ms1mv3/: train.rec, train.idx and lfw.bin.
data_root = 'data/ms1mv3/'
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='FaceRecords',
        data_root=data_root,
        pipeline=[
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs')
        ]))
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='FaceBin',
        data_root=data_root,
        ann_file='lfw.bin',
        pipeline=[dict(type='PackInputs')],
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='FaceVerification')
test_evaluator = val_evaluator
