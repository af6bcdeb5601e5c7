# IResNet-50 with ArcFace on CASIA-WebFace.
_base_ = [
    '../../_base_/models/face_iresnet50.py',
    '../../_base_/datasets/casia_webface.py',
    '../../_base_/schedules/face_20e.py', '../../_base_/runtime_face.py'
]
model = dict(
    head=dict(type='ArcFaceHead', num_classes=10572))
