# CrossKD (arXiv 2306.11369) for GFL-like detectors, with the authors' weights.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='CrossKDLoss', weight=1, regression_weight=4, num_convs=3)
    ])
