# The flows of FSP (CVPR 2017) beside the task, for networks whose features
# have the same shapes; weight of CRD's scripts. The paper's stages: fsp.py.
_base_ = './joint.py'

model = dict(losses=[dict(type='FSPLoss', weight=50)])
