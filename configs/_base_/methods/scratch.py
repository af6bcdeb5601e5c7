# No distillation: the student from scratch, in the same loop as the others.
model = dict(type='StageByStageDistiller')

train_cfg = dict(mimic=dict(max_epochs=0), head=dict(max_epochs=0))
