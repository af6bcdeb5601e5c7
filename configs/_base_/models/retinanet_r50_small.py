# mmdet's RetinaNet R50-FPN with narrower layers, for small images and machines
# without a GPU.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

model = dict(
    backbone=dict(
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[128, 256, 512, 1024], out_channels=64),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        num_classes=3,
        anchor_generator=dict(octave_base_scale=2)),
    test_cfg=dict(nms_pre=300))
