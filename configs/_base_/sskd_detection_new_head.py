# sskd_detection.py for a student whose head cannot be inherited. Its head
# needs the labels for longer, and full learning rates.
_base_ = './sskd_detection.py'

warmup = dict(
    type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
sskd = dict(
    train_cfg=dict(
        mimic=dict(max_epochs=5),
        head=dict(param_scheduler=[warmup, _base_.cosine]),
        finetune=dict(
            max_epochs=6,
            param_scheduler=[dict(warmup, end_factor=0.7), _base_.cosine])))
