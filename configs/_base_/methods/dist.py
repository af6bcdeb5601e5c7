# DIST (arXiv 2205.10536) with the settings for CIFAR-100.
_base_ = './joint.py'

model = dict(
    losses=[
        dict(type='DISTLoss', weight=1, beta=2, gamma=2, temperature=4)
    ])
