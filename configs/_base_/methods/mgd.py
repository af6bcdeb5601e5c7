# MGD (arXiv 2205.01529) at the FPN, with the settings for two-stage detectors.
# For one-stage ones the authors use weight=2e-5 and mask_ratio=0.65.
_base_ = './joint.py'

model = dict(
    stages=['neck'],
    losses=[dict(type='MGDLoss', weight=5e-7, mask_ratio=0.45)])
