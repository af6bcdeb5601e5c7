# The student by itself: what configs/sskd/yolox_tiny_coco.py distils,
# trained from scratch. Its checkpoints load here.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
custom_imports = dict(imports=['sskd_mm'])
