# The student by itself: what configs/sskd/atss_r18_coco.py distils,
# trained from scratch. Its checkpoints load here.
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['sskd_mm'])

model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]))
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
