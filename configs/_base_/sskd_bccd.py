# Distills detectors on BCCD, with the total compute of 12 epochs from scratch.
# There is one mimic phase, for the neck: at 52 iterations per epoch, a phase
# per stage would be all warm-up.
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['neck'],
        mimic_loss=dict(type='L2MimicLoss', normalize=True)),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        # Mimicking tolerates a higher learning rate than training. Images are
        # only flipped, so two passes of the teacher show nearly all there is.
        mimic=dict(
            max_epochs=5,
            cached_passes=2,
            optim_wrapper=dict(optimizer=dict(lr=0.01))),
        # An inherited head needs little training.
        head=dict(
            max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.001))),
        finetune=dict(
            max_epochs=6, optim_wrapper=dict(optimizer=dict(lr=0.002)))))
