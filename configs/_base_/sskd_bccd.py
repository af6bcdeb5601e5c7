# Distills detectors on BCCD, with the total compute of 12 epochs from scratch.
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
            max_epochs=9,
            cached_passes=2,
            optim_wrapper=dict(optimizer=dict(lr=0.01))),
        # An inherited head needs little training, and so does the student then.
        head=dict(
            max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.001))),
        finetune=dict(
            max_epochs=3, optim_wrapper=dict(optimizer=dict(lr=0.001)))))
