# Shared by most methods: the task loss plus others in one phase, as long as
# training from scratch (finetune's max_epochs is filled in, see
# tools/train.py --method).
model = dict(type='JointDistiller')

train_cfg = dict(mimic=dict(max_epochs=0), head=dict(max_epochs=0))
