# The student by itself: what configs/sskd/retinanet_r18_coco.py distils,
# trained from scratch. Its checkpoints load here.
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
custom_imports = dict(imports=['sskd_mm'])
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
