# The student by itself: what configs/sskd/rtmdet_tiny_coco.py distils,
# trained from scratch. Its checkpoints load here.
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
custom_imports = dict(imports=['sskd_mm'])
