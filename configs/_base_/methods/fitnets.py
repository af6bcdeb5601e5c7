# FitNets (arXiv 1412.6550) in its two stages: the student as far as the hint
# mimics it, then the whole of it learns by KD, as long as from scratch.
# The hint is the stage layer2. For networks whose stages have other names copy
# this file and write theirs.
_base_ = './joint.py'

model = dict(
    mimic_loss=dict(type='L2MimicLoss'),
    adapter=dict(type='ConvAdapter'),
    task_weight=0.1,
    losses=[dict(type='KDLoss', weight=0.9, temperature=4)])

# 30 epochs before the others, as CRD's comparison (arXiv 1910.10699) gives to
# the first stage of such methods.
train_cfg = dict(
    schedule='cumulative', phases={'mimic/layer2': dict(max_epochs=30)})
