# FSP (CVPR 2017) in its two stages, as in CRD's comparison (arXiv 1910.10699):
# 30 epochs on the flows only, then the task only, as long as from scratch.
model = dict(
    type='StageByStageDistiller',
    stages='auto',
    mimic_loss=dict(type='FSPMimicLoss'),
    adapter=dict(type='ConvAdapter'))

train_cfg = dict(
    schedule='joint', mimic=dict(max_epochs=30), head=dict(max_epochs=0))
