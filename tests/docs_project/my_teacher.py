# What the pages of docs/ call the reader's own teacher: a small Faster R-CNN,
# which learns eight images of the embedded set by heart in seconds.
_base_ = [
    'configs/_base_/models/faster_rcnn_r50_small.py',
    'mmdet::_base_/default_runtime.py'
]

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(depth=18, base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=32)))

dataset = dict(
    type='CocoDataset',
    data_root='data/mine/',
    metainfo=dict(
        classes=('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven',
                 'eight', 'nine')),
    ann_file='annotations/instances_train.json',
    data_prefix=dict(img='train/'),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(
            type='PackDetInputs',
            meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                       'scale_factor'))
    ])
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dataset)
# It is scored on what it was trained with, or it would take longer.
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, test_mode=True))
test_dataloader = val_dataloader
del dataset
val_evaluator = dict(
    type='CocoMetric', ann_file='data/mine/annotations/instances_train.json')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=40)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.003, weight_decay=0.05),
    clip_grad=dict(max_norm=10))
default_hooks = dict(checkpoint=dict(interval=40))
log_level = 'WARNING'
