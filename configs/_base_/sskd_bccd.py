# How detectors are distilled on BCCD: as much computing in all as 12 epochs
# from scratch. One mimic phase, against the neck: an epoch has 52 iterations
# there, so that a phase for each stage would be all warm-up.
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['neck'],
        mimic_loss=dict(type='L2MimicLoss', normalize=True)),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        # Mimicking bears a higher learning rate than training does.
        mimic=dict(
            max_epochs=5, optim_wrapper=dict(optimizer=dict(lr=0.01))),
        # An inherited head is nearly there.
        head=dict(
            max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.001))),
        finetune=dict(
            max_epochs=6, optim_wrapper=dict(optimizer=dict(lr=0.002)))))
