# Distills ImageNet classifiers in 100 epochs, by the recipe from the studies
# on CIFAR. It has not been run on ImageNet yet.
max_epochs = 100
cosine = dict(
    type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['auto', 'neck'],
        inherit=['head']),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        schedule=['joint', 'last'],
        mimic=dict(
            max_epochs=75,
            optim_wrapper=dict(optimizer=dict(lr=1.0, weight_decay=1e-5)),
            param_scheduler=cosine),
        phases={'mimic/last': dict(max_epochs=15)},
        head=dict(max_epochs=10, cached_passes=1, param_scheduler=cosine)))
