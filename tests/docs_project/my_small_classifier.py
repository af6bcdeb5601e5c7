# The reader's own classifier, the small one: as deep, half as wide.
_base_ = './my_large_classifier.py'

model = dict(
    backbone=dict(base_channels=8, stem_channels=8), head=dict(in_channels=64))
train_cfg = dict(max_epochs=4, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=1))
