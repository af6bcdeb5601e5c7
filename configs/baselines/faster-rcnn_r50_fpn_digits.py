# The teacher for the embedded data set.
_base_ = [
    '../_base_/models/faster_rcnn_r50_small.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_small.py'
]
