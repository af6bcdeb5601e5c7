# How pairs of ImageNet classifiers are distilled: 100 epochs in all. The
# recipe is what the studies on CIFAR found; nobody has run it here yet.
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
