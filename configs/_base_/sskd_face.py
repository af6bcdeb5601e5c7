# How pairs of networks for faces are distilled, in as many epochs as training
# from scratch takes; studies/orl_faces.yaml has measured it on a small set.
# Nobody has run it on MS1MV3 or CASIA-WebFace yet.
#
# All stages and the embedding are mimicked at once, then the embedding alone.
# Class centres start from the teacher's, and the head phase trains nothing
# else: embeddings, and so verification, are what mimicking left.
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['auto', 'backbone.features'],
        inherit=['head']),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        schedule=['joint', 'last'],
        # Of each of the two.
        mimic=dict(
            max_epochs=9,
            # A mean over all elements of a feature is a small loss: this makes
            # up for it, and keeps the decay of the weights as it was.
            optim_wrapper=dict(
                optimizer=dict(lr=1.0, weight_decay=1e-5, nesterov=True)),
            param_scheduler=[
                dict(
                    type='LinearLR',
                    start_factor=0.1,
                    by_epoch=False,
                    begin=0,
                    end=50),
                dict(
                    type='CosineAnnealingLR',
                    by_epoch=True,
                    convert_to_iter_based=True)
            ]),
        head=dict(
            max_epochs=2, optim_wrapper=dict(optimizer=dict(lr=0.01)))))
