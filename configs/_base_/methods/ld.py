# LD (arXiv 2102.12252) for GFL-like detectors: distills the distributions of
# box sides, with the weight and temperature of mmdet's configs.
_base_ = './joint.py'

model = dict(
    stages=['neck'], losses=[dict(type='LDLoss', weight=0.25, temperature=10)])
