# The flows of FSP (CVPR 2017) added to the task loss, for networks with
# features of the same shapes; weight of CRD's scripts. For the two stages see
# fsp.py.
_base_ = './joint.py'

model = dict(losses=[dict(type='FSPLoss', weight=50)])
