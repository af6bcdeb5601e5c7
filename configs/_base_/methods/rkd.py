# RKD (arXiv 1904.05068), distances and angles, with the weights of CRD's
# comparison (arXiv 1910.10699).
_base_ = './joint.py'

model = dict(
    losses=[
        dict(
            type='RKDLoss', weight=1, distance_weight=25, angle_weight=50)
    ])
