_base_ = [
    'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
    '../../_base_/sskd_imagenet.py',
]
custom_imports = dict(imports=['sskd_mm'])

recipe = _base_.sskd.model
# At strides 4, 8, 16 and 32.
recipe.stages = [
    dict(student='backbone.layer2', teacher='backbone.layer1'),
    dict(student='backbone.layer3', teacher='backbone.layer2'),
    dict(student='backbone.layer5', teacher='backbone.layer3'),
    dict(student='backbone.conv2', teacher='backbone.layer4'),
    'neck',
]
model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='mmpretrain::resnet/resnet50_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/'
        'resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'),
    **recipe)
del recipe
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
