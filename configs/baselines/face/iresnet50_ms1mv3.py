# IResNet-50 with ArcFace on MS1MV3.
_base_ = [
    '../../_base_/models/face_iresnet50.py',
    '../../_base_/datasets/ms1mv3.py',
    '../../_base_/schedules/face_20e.py', '../../_base_/runtime_face.py'
]
model = dict(
    head=dict(type='ArcFaceHead', num_classes=93431))
