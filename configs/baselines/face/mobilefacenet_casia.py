# MobileFaceNet with ArcFace on CASIA-WebFace; its weight decay is that of
# insightface (configs/ms1mv3_mbf.py, which trains it for 40 epochs).
_base_ = [
    '../../_base_/models/face_mobilefacenet.py',
    '../../_base_/datasets/casia_webface.py',
    '../../_base_/schedules/face_20e.py', '../../_base_/runtime_face.py'
]
model = dict(
    head=dict(type='ArcFaceHead', num_classes=10572))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
