# The student by itself: what configs/sskd/fcos_r18_coco.py distils,
# trained from scratch. Its checkpoints load here.
_base_ = ('mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-'
          'centeronreg-giou_1x_coco.py')
custom_imports = dict(imports=['sskd_mm'])

model = dict(
    # As the weights of torchvision want their images.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        depth=18,
        norm_cfg=dict(requires_grad=True),
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]))
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
