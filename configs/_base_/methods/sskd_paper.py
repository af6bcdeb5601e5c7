# The paper's strict form: each stage is fixed once it was mimicked, plain L2,
# the head starts from nothing.
model = dict(type='StageByStageDistiller', stages='auto')

train_cfg = dict(
    schedule='sequential',
    mimic=dict(max_epochs=60),
    head=dict(max_epochs=60),
    finetune=None)
