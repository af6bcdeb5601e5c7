# The control of stage-by-stage mimicking: the same features are compared, but
# beside the task and with a weight.
_base_ = './joint.py'

model = dict(
    inherit=['head'], losses=[dict(type='FeatureLoss', weight=1)])
