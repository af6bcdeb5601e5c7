# Distills classifiers for 32 x 32 images, by the recipe that the studies in
# docs/benchmarks.md found best. First all stages of the backbone mimic the
# teacher's together; then the whole backbone mimics the input of the teacher's
# classifier; then the head trains, starting from the teacher's if it fits.
cosine = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
]
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['auto', 'neck'],
        inherit=['head']),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        schedule=['joint', 'last'],
        mimic=dict(
            max_epochs=185,
            # The mean over all elements is a small loss: this compensates
            # for it and leaves the effective weight decay unchanged.
            optim_wrapper=dict(optimizer=dict(lr=1.0, weight_decay=1e-5)),
            param_scheduler=cosine),
        phases={'mimic/last': dict(max_epochs=35)},
        # Train on cached features of this many passes over the data.
        head=dict(
            max_epochs=20,
            cached_passes=4,
            optim_wrapper=dict(optimizer=dict(lr=0.1, weight_decay=5e-4)),
            param_scheduler=cosine)))
