# How pairs of classifiers for images of 32 x 32 are distilled, as the studies
# in docs/benchmarks.md found best. First the backbone's stages mimic the
# teacher's, all at once; then the whole backbone mimics what the teacher's
# classifier reads; then the head trains, from the teacher's where it fits.
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
            # A mean over all elements of a feature is a small loss: this makes
            # up for it, and keeps the decay of the weights as it was.
            optim_wrapper=dict(optimizer=dict(lr=1.0, weight_decay=1e-5)),
            param_scheduler=cosine),
        phases={'mimic/last': dict(max_epochs=35)},
        # On the features of so many passes over the training set.
        head=dict(
            max_epochs=20,
            cached_passes=4,
            optim_wrapper=dict(optimizer=dict(lr=0.1, weight_decay=5e-4)),
            param_scheduler=cosine)))
