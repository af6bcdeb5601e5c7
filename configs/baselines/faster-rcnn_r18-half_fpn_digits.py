# The quickstart's teacher: R18-FPN of half the usual width. Few and narrow
# levels, proposals and samples, so that an epoch takes seconds.
_base_ = [
    '../_base_/models/faster_rcnn_r50_small.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_small.py'
]

strides = [4, 8, 16, 32]
proposals = dict(nms_pre=100, max_per_img=50)
model = dict(
    backbone=dict(depth=18),
    neck=dict(
        in_channels=[32, 64, 128, 256], out_channels=32, num_outs=4),
    rpn_head=dict(
        in_channels=32,
        feat_channels=32,
        anchor_generator=dict(strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32, featmap_strides=strides),
        bbox_head=dict(in_channels=32)),
    train_cfg=dict(
        rpn_proposal=proposals, rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=proposals))

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
