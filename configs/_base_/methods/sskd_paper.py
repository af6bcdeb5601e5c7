# The paper's strict form: each stage is frozen after mimicking, plain L2, head
# from random weights.
model = dict(type='StageByStageDistiller', stages='auto')

train_cfg = dict(
    schedule='sequential',
    mimic=dict(max_epochs=60),
    head=dict(max_epochs=60),
    finetune=None)
