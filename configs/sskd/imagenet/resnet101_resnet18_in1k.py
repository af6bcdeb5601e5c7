_base_ = [
    'mmpretrain::resnet/resnet18_8xb32_in1k.py',
    '../../_base_/sskd_imagenet.py',
]
custom_imports = dict(imports=['sskd_mm'])

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='mmpretrain::resnet/resnet101_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/'
        'resnet/resnet101_8xb32_in1k_20210831-539c63f8.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
