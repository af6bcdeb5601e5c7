# LD (arXiv 2102.12252) for GFL and its kin: the teacher's distributions of
# where a box's sides are, weight and temperature of mmdet's configs.
_base_ = './joint.py'

model = dict(
    stages=['neck'], losses=[dict(type='LDLoss', weight=0.25, temperature=10)])
