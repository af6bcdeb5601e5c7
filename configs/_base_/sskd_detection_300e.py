# sskd_detection.py for detectors that train for 300 epochs, with students too
# narrow to inherit a head.
_base_ = './sskd_detection.py'

warmup = dict(
    type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)
sskd = dict(
    train_cfg=dict(
        mimic=dict(
            max_epochs=125, param_scheduler=[warmup, _base_.cosine]),
        head=dict(max_epochs=25, param_scheduler=[warmup, _base_.cosine]),
        finetune=dict(max_epochs=150),
        val_interval=10))
