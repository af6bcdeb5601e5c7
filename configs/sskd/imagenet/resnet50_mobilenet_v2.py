_base_ = ['mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py', '../../_base_/sskd_imagenet.py']

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='mmpretrain::resnet/resnet50_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/'
        'resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'),
    **_base_.sskd.model)
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
