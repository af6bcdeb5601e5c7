# How pairs of classifiers for images of 32 x 32 are distilled.
sskd = dict(
    model=dict(type='StageByStageDistiller', stages='auto', inherit=['head']),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        schedule='joint',
        mimic=dict(
            max_epochs=200,
            # Features are compared as means over their elements: this is the
            # learning rate and the decay of a loss summed over ten of them.
            optim_wrapper=dict(optimizer=dict(lr=1.0, weight_decay=1e-5))),
        head=dict(max_epochs=20)))
