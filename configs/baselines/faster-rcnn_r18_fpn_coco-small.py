# The student of ../sskd/faster_rcnn_r18_coco_small.py by itself.
_base_ = './faster-rcnn_r50_fpn_coco-small.py'

model = dict(
    backbone=dict(depth=18, base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]))
