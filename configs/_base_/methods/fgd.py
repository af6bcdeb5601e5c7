# FGD (arXiv 2111.11837) at the FPN, with the weights for two-stage detectors.
# The defaults of FGDLoss are the authors' for one-stage detectors.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[
        dict(
            type='FGDLoss',
            foreground=5e-5,
            background=2.5e-5,
            attention=5e-5,
            relation=5e-7)
    ])
