_base_ = [
    'mmpretrain::resnet/resnet18_8xb32_in1k.py',
    '../../_base_/sskd_imagenet.py',
]
custom_imports = dict(imports=['sskd_mm'])

model = dict(
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        cfg='mmpretrain::resnet/resnet34_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/'
        'resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth'),
    **_base_.sskd.model)
# The student has fewer blocks and starts from some of the teacher's.
model['inherit'] = ['backbone', 'head']
train_cfg = dict(_delete_=True, **_base_.sskd.train_cfg)
