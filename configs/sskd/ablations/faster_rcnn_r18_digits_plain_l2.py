# Plain L2, not divided by the teacher's energy.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(mimic_loss=dict(normalize=False))
