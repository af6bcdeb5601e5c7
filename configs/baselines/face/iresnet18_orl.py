# IResNet-18 on twenty people of the ORL faces. A scale of 64 and a margin of
# 0.5 are too hard for ten images of each.
_base_ = [
    '../../_base_/models/face_iresnet50.py',
    '../../_base_/datasets/orl_faces.py',
    '../../_base_/schedules/face_20e.py', '../../_base_/runtime_face.py'
]
model = dict(
    backbone=dict(depth=18, input_size=32),
    head=dict(type='ArcFaceHead', num_classes=20, scale=16., margin=0.2))

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.02))
auto_scale_lr = dict(base_batch_size=20)
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(interval=10))
