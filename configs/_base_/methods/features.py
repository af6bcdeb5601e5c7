# The control of stage-by-stage mimicking: the same features are compared, but
# together with the task loss and with a weight.
_base_ = './joint.py'

model = dict(
    inherit=['head'], losses=[dict(type='FeatureLoss', weight=1)])
