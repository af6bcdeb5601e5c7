# A narrow GFL teacher for COCO at a quarter of the usual size.
_base_ = [
    '../_base_/models/gfl_r50_small.py',
    '../_base_/datasets/coco_small_detection.py',
    '../_base_/schedules/schedule_small.py'
]

model = dict(bbox_head=dict(num_classes=80))
