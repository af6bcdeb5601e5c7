# FitNets (arXiv 1412.6550) in its two stages: the student up to the hint
# mimics the teacher, then the whole student learns by KD, as long as from
# scratch. The hint is the stage layer2. For networks with other stage names,
# copy this file and change the name.
_base_ = './joint.py'

model = dict(
    mimic_loss=dict(type='L2MimicLoss'),
    adapter=dict(type='ConvAdapter'),
    task_weight=0.1,
    losses=[dict(type='KDLoss', weight=0.9, temperature=4)])

# 30 epochs first, as CRD's comparison (arXiv 1910.10699) gives the first stage
# of such methods.
train_cfg = dict(
    schedule='cumulative', phases={'mimic/layer2': dict(max_epochs=30)})
